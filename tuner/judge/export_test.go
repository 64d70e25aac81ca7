package judge

// Orders is how many orders a round has.
func Orders(round int) int { return len(orders(round)) }

// Draw takes these orders for those drawn.
func (j *Judge) Draw(orders []int) { j.orders = orders }

// Gained is whether the decision is for the candidate, without the interval, which takes long to count.
func (j *Judge) Gained() bool { return j.verdict.Decision == Better }
