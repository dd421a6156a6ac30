"""What a teacher is worth to fresh learners."""
