"""What is done to runs afterwards: reconciling, waiting, cancelling, resubmission, cleaning."""
