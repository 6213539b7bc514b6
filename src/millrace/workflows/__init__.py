"""Workflows: functions whose steps are remembered, so that each is done once whatever happens between."""
