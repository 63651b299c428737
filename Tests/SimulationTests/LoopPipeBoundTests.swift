import Glibc
import MillraceEventLoop
import MillraceSimulation
import Testing

/// Pipes are bounded by their sources, which wait for the target, also while it closes.
@Suite struct LoopPipeBoundTests {
    /// Runs `body` with sources that are piped to one target.
    private func withPipes(
        _ count: Int = 1, highMark: Int = 10, limit: Int = 64 << 20, idle: Nanoseconds? = nil,
        read: Nanoseconds? = nil,
        _ body: (Stage, _ sources: [Token], _ target: Token) throws -> Void
    ) throws {
        var configuration = LoopConfiguration()
        configuration.outboundHighMark = highMark
        configuration.outboundLowMark = 4
        configuration.outboundLimit = limit
        configuration.idleTimeout = idle
        configuration.readTimeout = read
        try withStage(configuration) { stage in
            let target = try stage.open()
            let sources = try (0..<count).map { _ in try stage.open() }
            for source in sources {
                stage.turn(source) { loop, source in
                    if let target = loop.find(target) { loop.pipe(source, to: target) }
                }
            }
            try body(stage, sources, target)
        }
    }

    private func bytes(_ count: Int) -> [UInt8] { [UInt8](repeating: 7, count: count) }

    // MARK: The limit

    @Test(
        "one receive may be larger than the limit: the source waits, and nothing is reset",
        arguments: [100, 9 << 20])
    func receiveAboveTheLimit(size: Int) throws {
        try withPipes(highMark: 20, limit: 30) { stage, sources, target in
            var requests = stage.turn((sources[0], .received(bytes(size))))
            #expect(requests.contains(.stop(.receive, sources[0])))
            let late = stage.turn(
                (sources[0], .received(bytes(size))), (sources[0], .stopped(.receive)))
            #expect(late == [.watch(sources[0])])
            #expect(stage.remote.counters.outboundOverflows.current == 0)
            var sent = 0
            while case .send(let bytes, target) = requests.first {
                sent += bytes.count
                requests = stage.turn((target, .sent(bytes.count)))
            }
            #expect(sent == 2 * size)
            #expect(requests == [.receive(sources[0])])
        }
    }

    @Test("a source waits at half of the limit, if that is below the high mark")
    func markOfASmallLimit() throws {
        try withPipes(highMark: 30, limit: 30) { stage, sources, target in
            #expect(stage.turn((sources[0], .received(bytes(15)))) == [.send(bytes(15), target)])
            #expect(stage.turn((sources[0], .received([1]))) == [.stop(.receive, sources[0])])
            stage.turn((sources[0], .stopped(.receive)))
            #expect(stage.turn((target, .sent(15))) == [.send([1], target), .receive(sources[0])])
            #expect(stage.turn((target, .sent(1))) == [])
        }
    }

    @Test("bytes that a handler writes beside a full pipe count for its limit as ever")
    func handlersOwnWrites() throws {
        try withPipes(highMark: 20, limit: 30) { stage, sources, target in
            stage.turn((sources[0], .received(bytes(100))))
            stage.write(bytes(5), to: target)
            #expect(stage.delegate.take(target) == [])
            stage.write(bytes(9 << 20), to: target)
            #expect(stage.delegate.take(target) == [.closed("outboundOverflow")])
        }
    }

    // MARK: Many sources

    /// Each full target would otherwise cost a request for every silent source.
    @Test("a full target holds back the sources that bring bytes, and its relief starts them again")
    func manySources() throws {
        try withPipes(30) { stage, sources, target in
            let requests = stage.turn((sources[1], .received(bytes(20))))
            #expect(requests.contains(.stop(.receive, sources[1])))
            #expect(sources.count { requests.contains(.stop(.receive, $0)) } == 1)
            #expect(stage.turn((sources[2], .received([1]))) == [.stop(.receive, sources[2])])
            for source in sources[1...2] { stage.turn((source, .stopped(.receive))) }
            let relieved = stage.turn((target, .sent(20)))
            #expect(relieved.first == .send([1], target))
            #expect(
                sources.filter { relieved.contains(.receive($0)) } == Array(sources[1...2]))
        }
    }

    /// A pause behind one for the pipe has nothing to do with it.
    @Test("a source has its whole read time-out behind a pause of its handler")
    func timeoutBehindAPause() throws {
        try withPipes(2, read: .milliseconds(400)) { stage, sources, target in
            stage.turn(after: .milliseconds(10), (sources[1], .received(bytes(20))))
            stage.turn((sources[1], .stopped(.receive)))
            stage.turn((target, .sent(20)))
            stage.turn(sources[0]) { $0.pauseReading($1) }
            stage.turn((sources[0], .stopped(.receive)))
            for _ in 0..<38 { stage.turn(after: .milliseconds(10), (sources[1], .received([1]))) }
            stage.turn(sources[0]) { $0.resumeReading($1) }
            for _ in 0..<38 { stage.turn(after: .milliseconds(10), (sources[1], .received([1]))) }
            #expect(stage.delegate.take(sources[0]) == [])
        }
    }

    @Test("of many sources, one that a reset has ended is still read to its end")
    func brokenAmongMany() throws {
        try withPipes(2) { stage, sources, target in
            for source in sources {
                stage.turn((source, .received(bytes(20))))
                stage.turn((source, .stopped(.receive)))
            }
            #expect(stage.turn((sources[1], .hungUp(ECONNRESET))) == [.receive(sources[1])])
            #expect(stage.turn((sources[1], .received(bytes(20)))) == [])
            #expect(stage.turn((sources[1], .endOfStream)) == [.close(sources[1])])
        }
    }

    @Test("a source among many that says nothing is silent, however often its target is full")
    func silentAmongMany() throws {
        try withPipes(2, read: .milliseconds(400)) { stage, sources, target in
            var time = 0
            while stage.remote.counters.timeouts.current == 0 && time < 4_000 {
                stage.turn((sources[1], .received(bytes(20))))
                stage.turn((sources[1], .stopped(.receive)))
                stage.turn(after: .milliseconds(5))
                stage.turn((target, .sent(20)), (target, .received([1])))
                for _ in 0..<42 { stage.turn(after: .milliseconds(1)) }
                time += 47
            }
            #expect(stage.delegate.take(sources[0]) == [.closed("timeout")])
            #expect((400...450).contains(time), "\(time)")
        }
    }

    // MARK: A target that is closing

    /// Closes the target while five bytes wait for its peer, and lets the source send a byte then.
    private func closeTarget(_ stage: Stage, _ source: Token, _ target: Token) {
        stage.turn((source, .received(bytes(5))))
        stage.close(target)
        #expect(stage.turn((source, .received([1]))) == [.stop(.receive, source)])
        #expect(stage.turn((source, .stopped(.receive))) == [.watch(source)])
    }

    @Test("the source of a target that is closing is not read, and closes with it")
    func closingTarget() throws {
        try withPipes { stage, sources, target in
            closeTarget(stage, sources[0], target)
            for _ in 0..<4 { #expect(stage.turn((target, .sent(1))).count == 1) }
            #expect(stage.delegate.take(sources[0]) == [])
            stage.turn((target, .sent(1)))
            #expect(stage.delegate.take(target) == [.closed("local")])
            #expect(stage.delegate.take(sources[0]) == [.closed("peer")])
        }
    }

    @Test("a reset of such a source ends it at once: its descriptor does not wait for the target")
    func resetBesideAClosingTarget() throws {
        try withPipes { stage, sources, target in
            closeTarget(stage, sources[0], target)
            #expect(stage.turn((sources[0], .hungUp(ECONNRESET))) == [.receive(sources[0])])
            stage.turn((sources[0], .received([1])))
            #expect(stage.turn((sources[0], .endOfStream)) == [.close(sources[0])])
            stage.turn((target, .sent(5)))
            #expect(stage.delegate.take(target) == [.closed("local")])
        }
    }

    @Test("the idle time-out still ends such a source, and not by a reset of the target")
    func idleBesideAClosingTarget() throws {
        try withPipes(idle: .milliseconds(400)) { stage, sources, target in
            let descriptor = try #require(stage.loop.find(target)).descriptor
            closeTarget(stage, sources[0], target)
            for _ in 0..<9 {
                for _ in 0..<5 { stage.turn(after: .milliseconds(10)) }
            }
            #expect(stage.delegate.take(sources[0]) == [.closed("timeout")])
            stage.turn((target, .sent(5)))
            #expect(stage.delegate.take(target) == [.closed("local")])
            #expect(!stage.network.resetsOnClose(descriptor))
        }
    }

    @Test("a stop ends such a source at half of its time, and the target at the end of it")
    func stopBesideAClosingTarget() throws {
        try withPipes { stage, sources, target in
            closeTarget(stage, sources[0], target)
            stage.turn(message: .drain(within: .milliseconds(1_000)))
            for _ in 0..<52 { stage.turn(after: .milliseconds(10)) }
            #expect(stage.delegate.take(sources[0]) == [.closed("shutdown")])
            for _ in 0..<52 { stage.turn(after: .milliseconds(10)) }
            #expect(stage.delegate.take(target) == [.closed("local")])
        }
    }

    @Test("another target takes such a source over, which is read again")
    func movedFromAClosingTarget() throws {
        try withPipes { stage, sources, target in
            closeTarget(stage, sources[0], target)
            let other = try stage.open()
            let requests = stage.turn(sources[0]) { loop, source in
                if let other = loop.find(other) { loop.pipe(source, to: other) }
            }
            #expect(requests == [.receive(sources[0])])
            #expect(stage.turn((sources[0], .received([2]))) == [.send([2], other)])
        }
    }
}
