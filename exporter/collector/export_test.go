package collector

// Observe is observe, for addresses that no test can connect to.
var Observe = observe
