"""What is known about the ways out beyond what BGP says: facts with an age, and what they advise."""
