"""An AWS endpoint for one machine: moto, made to refuse what AWS would refuse.

moto keeps the state of the services; the layer around it checks signatures and
policies, enforces Object Lock, and streams object data. See ``app.py`` for the
way of a request, ``policy.py`` for the evaluation.
"""
