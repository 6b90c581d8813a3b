"""The running process: devices, progress, signals."""
