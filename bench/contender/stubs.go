package contender

func gos() []*Contender     { return nil }
func prefork() []*Contender { return nil }
func proxies() []*Contender { return nil }
func nginxes() []*Contender { return nil }
