"""Settings: sections with their rules, presets, YAML."""
