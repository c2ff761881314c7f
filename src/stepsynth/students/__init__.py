"""Small models, one file each: fitted on a data set, asked for probabilities."""

from stepsynth.students._factory import StudentFactory
from stepsynth.students._student import Student, load_student, students

__all__ = ["Student", "StudentFactory", "load_student", "students"]
