// An echo server on gnet, which has its own event loops instead of a goroutine for each connection.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"syscall"

	"github.com/panjf2000/gnet/v2"
)

type server struct {
	gnet.BuiltinEventEngine
}

// OnBoot runs when the socket listens already. For port 0 only the kernel knows the port.
func (s *server) OnBoot(engine gnet.Engine) gnet.Action {
	listener, err := engine.Dup()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return gnet.Shutdown
	}
	defer syscall.Close(listener)
	address, err := syscall.Getsockname(listener)
	inet, is4 := address.(*syscall.SockaddrInet4)
	if err != nil || !is4 {
		fmt.Fprintln(os.Stderr, "no port:", err)
		return gnet.Shutdown
	}
	fmt.Printf("listening on tcp://127.0.0.1:%d\n", inet.Port)
	return gnet.None
}

func (s *server) OnTraffic(connection gnet.Conn) gnet.Action {
	bytes, err := connection.Next(-1)
	if err != nil {
		return gnet.Close
	}
	if _, err = connection.Write(bytes); err != nil {
		return gnet.Close
	}
	return gnet.None
}

// warnings is a logger without the line that gnet logs at each start.
type warnings struct{}

func (warnings) Debugf(string, ...interface{}) {}
func (warnings) Infof(string, ...interface{})  {}
func (warnings) Warnf(format string, values ...interface{}) {
	fmt.Fprintf(os.Stderr, format+"\n", values...)
}
func (w warnings) Errorf(format string, values ...interface{}) { w.Warnf(format, values...) }
func (w warnings) Fatalf(format string, values ...interface{}) {
	w.Warnf(format, values...)
	os.Exit(1)
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: gnet-echo PORT LOOPS")
		os.Exit(2)
	}
	loops, err := strconv.Atoi(os.Args[2])
	if err != nil || loops < 1 {
		fmt.Fprintln(os.Stderr, "not a number of loops:", os.Args[2])
		os.Exit(2)
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		<-signals
		os.Exit(0)
	}()
	err = gnet.Run(&server{}, "tcp://127.0.0.1:"+os.Args[1],
		gnet.WithNumEventLoop(loops), gnet.WithTCPNoDelay(gnet.TCPNoDelay),
		gnet.WithLogger(warnings{}))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
