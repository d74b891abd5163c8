"""Rules over whole stacks: what no single resource can promise alone.

The public packs look at one resource at a time, and at arguments inside a bucket that
pulumi-aws 7 keeps in resources of their own. These rules join a bucket with its side
resources, an alarm with its topic and that topic's key, a role with its policies.

:mod:`infra.policy.rules` lists them. They are pure functions over
:class:`infra.policy.model.Stack`, so tests call them on recorded stacks, and
``__main__.py`` hands them to Pulumi as a policy pack:

    pulumi preview --policy-pack infra/policy/steward-policy --stack bitesbay-production

The CLI starts ``steward-policy`` itself. Given the folder instead it asks the Python
language host to, which that of an official install does and the sandbox's cannot. The pack
puts this folder first on the module path, so no module here may be called as one of the
standard library's.
"""
