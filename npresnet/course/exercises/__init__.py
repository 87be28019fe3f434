"""The exercises' solutions and checks. Readers: `nr.course.hint` spoils less."""
