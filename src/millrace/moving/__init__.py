"""Moving house: copies of a whole store between databases, backups, and looks at whether one is sound."""
