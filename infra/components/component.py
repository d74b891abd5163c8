"""What all components of this program have in common."""

from __future__ import annotations

import pulumi


class Component(pulumi.ComponentResource):
    """A component whose children are called ``<component>-<part>``."""

    def __init__(self, token: str, name: str, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(token, name, None, opts)
        self._name = name

    def _child(self, *after: pulumi.Resource, protect: bool | None = None) -> pulumi.ResourceOptions:
        """Options of a child that is registered after others of its siblings."""
        return pulumi.ResourceOptions(parent=self, depends_on=list(after), protect=protect or None)
