"""Stand-ins for the outside services that the sample backend speaks to.

``python -m sandbox.services razorpay|smtp --help`` says how they are started.
"""
