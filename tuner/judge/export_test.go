package judge

// Bare is the verdict without its interval, which takes long to count.
func (j *Judge) Bare() Verdict { return j.verdict }
