"""Which trials go on: each rule by name, all of them pure functions of the record."""
