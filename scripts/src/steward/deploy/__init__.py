"""What has to be true before a release goes to production: the manual's checklist, checked by machine."""
