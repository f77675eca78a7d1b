package control

// CheckUser says what is wrong with a [Config.User].
func CheckUser(text string) error {
	_, err := findAccount(text)
	return err
}
