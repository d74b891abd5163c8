"""Full backups and oplog slices of MongoDB into the backup store."""
