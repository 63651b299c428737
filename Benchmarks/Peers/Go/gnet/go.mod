module gnet-echo

go 1.17

// The newest version that Debian 12's Go 1.19 compiles: later ones use functions of Go 1.20.
require github.com/panjf2000/gnet/v2 v2.5.7

require (
	github.com/panjf2000/ants/v2 v2.10.0 // indirect
	github.com/valyala/bytebufferpool v1.0.0 // indirect
	go.uber.org/atomic v1.7.0 // indirect
	go.uber.org/multierr v1.6.0 // indirect
	go.uber.org/zap v1.21.0 // indirect
	golang.org/x/sync v0.7.0 // indirect
	golang.org/x/sys v0.21.0 // indirect
	gopkg.in/natefinch/lumberjack.v2 v2.2.1 // indirect
)
