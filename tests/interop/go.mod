module tidegate/tests/interop

go 1.20 // no less than what yamux asks for; Go 1.19 does not know the limit and builds it all the same

require github.com/hashicorp/yamux v0.1.2
