/// Tests that loops are bound to processors that the process may use, with any set of them.
import CMillraceLinux
import Glibc
import MillraceEventLoop
import MillraceTestSupport
import NetAPI
import Testing

@Suite struct PinningTests {
    /// Returns the processors that each loop's thread may use, by the loop's index.
    private func processors(
        _ setup: Setup, startedOn processor: CInt? = nil
    ) throws -> [Int: [CInt]] {
        let seen = Shared<[Int: [CInt]]>([:])
        let handler = TestHandler(boot: { loop in
            let (index, allowed) = (loop.index, (0..<mr_cpu_count()).map { mr_processor($0) })
            seen.update { $0[index] = allowed }
            return .none
        })
        let options = setup.options { $0.pinLoops = true }
        try bounded("a start and a stop") {
            if let processor { #expect(mr_pin_thread(processor) == 0) }
            // One handler for each loop, so that each boots.
            let server = try Server(listen: anyPort, options: options) { handler }
            try server.start()
            server.stop()
        }
        return seen.value
    }

    @Test("each loop runs on the next of the allowed processors", arguments: Setup.all)
    func eachLoopHasTheNextOfTheProcessors(_ setup: Setup) throws {
        let expected = (0..<setup.loops).map { ($0, [mr_processor(CInt($0))]) }
        #expect(try processors(setup) == Dictionary(uniqueKeysWithValues: expected))
    }

    /// Like under `taskset -c` with the last processor.
    @Test("loops run only on processors that the process may use", arguments: Setup.all)
    func noOtherThanTheAllowedIsTaken(_ setup: Setup) throws {
        let last = mr_processor(mr_cpu_count() - 1)
        let found = try processors(setup, startedOn: last)
        #expect(found.count == setup.loops && found.values.allSatisfy { $0 == [last] })
    }

    @Test("indexes beyond the last processor start again at the first")
    func placesBeyondTheLastBeginAgain() {
        let count = mr_cpu_count()
        let all = (0..<count).map { mr_processor($0) }
        #expect(Set(all).count == all.count && all == all.sorted())
        #expect((0..<count).map { mr_processor(count + $0) } == all)
    }

    /// SO_INCOMING_CPU names the same processors.
    @Test("a listener prefers the processor of its loop")
    func listenersPreferTheirLoopsProcessor() throws {
        let last = mr_processor(mr_cpu_count() - 1)
        let found = try bounded("listening") { () throws -> [CInt] in
            #expect(mr_pin_thread(last) == 0)
            var configuration = LoopGroup.Configuration()
            configuration.loops = 2
            configuration.reusePort = true
            configuration.pinLoops = true
            let group = LoopGroup(
                configuration,
                LoopGroup.Parts(
                    sockets: KernelSockets(), makeDriver: { throw Mishap() },
                    makeDelegate: { _ in preconditionFailure("no loop is made") },
                    report: { _ in }))
            let address = SocketAddress.v4(IPv4Bytes(UInt32(0x7F00_0001).bigEndian), port: 0)
            let listeners = try group.listen(on: [ListenAddress(address)])
            defer { group.discard(listeners) }
            return try listeners.perLoop.joined().map { listener -> CInt in
                let number = listener.bound.descriptor.number
                return try socketOption(number, SOL_SOCKET, CInt(MR_SO_INCOMING_CPU), -2)
            }
        }
        #expect(found == [last, last])
    }
}
