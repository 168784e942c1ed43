"""Scripts killed at random moments and started again: what they leave has to be what an undisturbed run leaves."""
