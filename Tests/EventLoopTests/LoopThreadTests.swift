/// Tests of a loop's thread: its name, its signals, its end.
import Glibc
import MillraceTestSupport
import Testing

@testable import MillraceEventLoop

@Suite struct LoopThreadTests {
    @Test("join waits until the thread's body has ended")
    func joinWaitsForTheEnd() throws {
        let monitor = Monitor(false)
        let thread = try LoopThread(name: "joined") {
            usleep(20_000)
            monitor.update { $0 = true }
        }
        thread.join()
        #expect(monitor.update { $0 })
    }

    @Test(
        "the thread's name is cut to at most fifteen bytes of whole characters",
        arguments: [
            ("short", "short"), ("exactly-fifteen", "exactly-fifteen"),
            ("sixteen-letters-", "sixteen-letters"),
            // Eight letters of two bytes each: the last letter is cut as a whole.
            ("ääääääää", "äääääää"), ("millrace-loop-ä", "millrace-loop-"),
        ])
    func itsNameIsCutToFifteenBytes(name: String, shown: String) throws {
        let monitor = Monitor<String?>(nil)
        let thread = try LoopThread(name: name) {
            let text = readText("/proc/thread-self/comm") ?? ""
            monitor.update { $0 = String(text.prefix { $0 != "\n" }) }
        }
        thread.join()
        #expect(monitor.wait { $0 } == shown)
    }

    @Test("the thread blocks all signals except those for its own faults and SIGPROF")
    func takesNoSignalsButItsOwnFaults() throws {
        let monitor = Monitor<[Int32: Bool]>([:])
        let signals = [SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGPIPE, SIGCHLD, SIGALRM]
        let faults = [SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGPROF]
        let thread = try LoopThread(name: "signals") {
            var blocked = sigset_t()
            pthread_sigmask(SIG_BLOCK, nil, &blocked)
            monitor.update { state in
                for signal in signals + faults {
                    state[signal] = sigismember(&blocked, signal) == 1
                }
            }
        }
        thread.join()
        let blocked = monitor.update { $0 }
        for signal in signals { #expect(blocked[signal] == true, "signal \(signal)") }
        for signal in faults { #expect(blocked[signal] == false, "signal \(signal)") }
    }

    @Test("starting a thread leaves the signal mask of the starting thread unchanged")
    func theStartersSignalsStayAsTheyWere() throws {
        var outside = sigset_t()
        var wanted = sigset_t()
        sigemptyset(&wanted)
        sigaddset(&wanted, SIGUSR2)
        pthread_sigmask(SIG_SETMASK, &wanted, &outside)
        defer { pthread_sigmask(SIG_SETMASK, &outside, nil) }
        try LoopThread(name: "mask") {}.join()
        var after = sigset_t()
        pthread_sigmask(SIG_BLOCK, nil, &after)
        for signal in 1..<Int32(32) {
            #expect(sigismember(&after, signal) == (signal == SIGUSR2 ? 1 : 0), "\(signal)")
        }
    }
}
