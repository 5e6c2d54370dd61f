"""What a user may set: `params.yaml` and profiles as validated, immutable dataclasses."""
