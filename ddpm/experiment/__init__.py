"""What makes a run repeatable: parameters, provenance, workspace and tracking."""
