"""A stand-in for the AWS provider of Pulumi, for one machine.

What it is for: the genuine provider plugin cannot be had on a machine without the
vendor's download server. This package takes its place behind the genuine ``pulumi``
CLI and the genuine ``pulumi_aws`` SDK, so that the program in ``infra/`` runs
unchanged: create, update, replace, preview, refresh, destroy and import against an
AWS endpoint of the sandbox.

What it stands for, and how far:

* Resources: the rows of :data:`sandbox.aws_plugin.registry.RESOURCES`. A type without a
  row, or an argument a row does not carry out, is an error that says so.
* Function: ``aws.get_caller_identity``.
* Checks: every argument, nested ones included, against the genuine SDK's own classes:
  unknown or misspelled names, missing ones, wrong types.
* Provider settings, of the stack (``aws:region``) or of an ``aws.Provider``: see
  :mod:`sandbox.aws_plugin.settings`; others are refused.

What it is not: the genuine provider. It follows that one's documented behaviour
(which changes replace a resource, what ``force_destroy`` does, what is left of a
deleted key), but a first run against AWS is still a first run. It refuses to talk to
any endpoint of amazonaws.com.

How it is found: ``sandbox/bin/pulumi-resource-aws`` on PATH; Pulumi then prints a
warning that it uses a plugin from there.

To add a resource type: one class in a module of this package (for a setting of a bucket
a row in :mod:`sandbox.aws_plugin.s3_settings` is enough), and its name in the registry.
"""
