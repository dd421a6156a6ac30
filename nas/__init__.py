"""Architecture search judged by a teacher."""
