package ledger

// Output is how records reach the disk.
type Output = output

// Through puts another output in the place of the file.
func (l *Ledger) Through(wrap func(Output) Output) { l.out = wrap(l.out) }
