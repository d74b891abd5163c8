"""Staging hosts: small Debian machines on this machine, one systemd each.

``systemd-nspawn`` boots them from one base image through overlayfs and joins
them to a bridge of the sandbox's own. ``sandbox/hosts`` is the command.
"""
