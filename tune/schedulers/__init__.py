"""Schedulers, which stop, pause and promote trials: pure functions of the record."""
