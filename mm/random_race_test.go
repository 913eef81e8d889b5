package mm_test

func (w *world) opRace() { w.t.Skip("later") }
