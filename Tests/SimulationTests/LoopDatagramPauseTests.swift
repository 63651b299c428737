import Glibc
import MillraceEventLoop
import MillraceSimulation
import Testing

/// Datagrams that a connected socket's driver has received before a pause stopped it, and datagrams
/// that are left unread.
@Suite struct LoopDatagramPauseTests {
    typealias Told = RecordingDelegate.Told

    /// Pauses reading in the callback of each datagram that begins with one of `bytes`.
    private func pause(_ stage: Stage, at bytes: UInt8...) {
        stage.delegate.onTraffic = { loop, connection, shown in
            if let first = shown.first, bytes.contains(first) { loop.pauseReading(connection) }
        }
    }

    private func drops(_ stage: Stage) -> Int { stage.remote.counters.datagramDrops.current }

    @Test("the rest of a batch is kept in a pause and shown after it, one by one and in order")
    func theRestOfABatchIsKept() throws {
        try withConnectedDatagrams { stage, token in
            pause(stage, at: 1)
            let requests = stage.receive([1], [2, 2], [], [3], by: token)
            #expect(requests == [.stop(.datagrams, token)])
            #expect(stage.delegate.take(token) == [.traffic([1])])
            stage.turn((token, .stopped(.datagrams)))
            #expect(stage.delegate.take(token) == [])
            #expect(stage.resume(token) == [.receiveDatagrams(token)])
            let shown: [Told] = [.traffic([2, 2]), .traffic([]), .traffic([3])]
            #expect(stage.delegate.take(token) == shown)
            #expect(drops(stage) == 0)
            #expect(stage.remote.counters.datagramsIn.current == 4)
        }
    }

    @Test("a kept datagram is shown before one that arrives in the turn of the resume")
    func aKeptOneIsShownBeforeAFreshOne() throws {
        try withConnectedDatagrams { stage, token in
            stage.pause(token)
            stage.receive([1], by: token)
            let resume = LoopMessage.run { loop in
                if let connection = loop.find(token) { loop.resumeReading(connection) }
            }
            stage.turn(message: resume, (token, stage.datagram([2])))
            #expect(stage.delegate.take(token) == [.traffic([1]), .traffic([2])])
            stage.turn()
            #expect(stage.delegate.take(token) == [])
        }
    }

    @Test("a pause among kept datagrams keeps the others, and one that arrives in that turn")
    func aFurtherPauseKeepsTheOthers() throws {
        try withConnectedDatagrams { stage, token in
            pause(stage, at: 1, 2, 3)
            stage.receive([1], [2], [3], by: token)
            #expect(stage.delegate.take(token) == [.traffic([1])])
            let resume = LoopMessage.run { loop in
                if let connection = loop.find(token) { loop.resumeReading(connection) }
            }
            stage.turn(message: resume, (token, stage.datagram([4])))
            #expect(stage.delegate.take(token) == [.traffic([2])])
            stage.turn((token, .stopped(.datagrams)))
            stage.resume(token)
            #expect(stage.delegate.take(token) == [.traffic([3])])
            #expect(stage.resume(token) == [.receiveDatagrams(token)])
            #expect(stage.delegate.take(token) == [.traffic([4])])
        }
    }

    @Test("a close among kept datagrams drops the others")
    func aCloseDropsTheOthers() throws {
        try withConnectedDatagrams { stage, token in
            stage.pause(token)
            stage.receive([1], [2], by: token)
            stage.turn((token, .stopped(.datagrams)))
            stage.delegate.onTraffic = { loop, connection, _ in loop.close(connection, .local) }
            #expect(stage.resume(token).last == .close(token))
            #expect(stage.delegate.take(token) == [.traffic([1]), .closed("local")])
        }
    }

    /// The first one is kept in any case.
    @Test("datagrams of a pause above the inbound limit are dropped, and each is counted")
    func theBoundOfKeptOnes() throws {
        var configuration = LoopConfiguration()
        configuration.inboundLimit = 1_000
        try withConnectedDatagrams(configuration) { stage, token in
            let large = [UInt8](repeating: 1, count: 2_000)
            stage.pause(token)
            stage.receive(large, [2], by: token)
            #expect(drops(stage) == 1)
            stage.turn((token, .stopped(.datagrams)))
            stage.resume(token)
            #expect(stage.delegate.take(token) == [.traffic(large)])
            stage.pause(token)
            // Each counts for 256 bytes more.
            stage.receive([3], [4], [5], [6], by: token)
            #expect(drops(stage) == 2)
            stage.turn((token, .stopped(.datagrams)))
            stage.resume(token)
            #expect(stage.delegate.take(token) == [.traffic([3]), .traffic([4]), .traffic([5])])
        }
    }

    @Test("an empty datagram of a pause is available in its callback only")
    func anEmptyOneIsInHandWhileItIsShown() throws {
        try withConnectedDatagrams { stage, token in
            let taken = Monitor<[Bool]>([])
            stage.pause(token)
            stage.receive([], [1], by: token)
            let connection = try #require(stage.loop.find(token))
            #expect(!stage.loop.takeEmptyDatagram(connection))
            stage.delegate.onTraffic = { loop, connection, _ in
                let isTaken = loop.takeEmptyDatagram(connection)
                taken.withLock { $0.append(isTaken) }
            }
            stage.turn((token, .stopped(.datagrams)))
            stage.resume(token)
            #expect(taken.withLock { $0 } == [true, false])
            #expect(!stage.loop.takeEmptyDatagram(connection))
        }
    }

    @Test("a wake-up in a pause shows none of the kept datagrams")
    func aWakeUpShowsNone() throws {
        try withConnectedDatagrams { stage, token in
            stage.pause(token)
            stage.receive([1], by: token)
            stage.turn(token) { $0.wake($1) }
            #expect(stage.delegate.take(token) == [.traffic([])])
            stage.turn((token, .stopped(.datagrams)))
            stage.resume(token)
            #expect(stage.delegate.take(token) == [.traffic([1])])
        }
    }

    // MARK: Unread datagrams

    @Test("a datagram that is left unread is dropped, but stays if its callback begins a pause")
    func anUnreadOneStaysInAPause() throws {
        try withConnectedDatagrams { stage, token in
            let connection = try #require(stage.loop.find(token))
            stage.delegate.leavesUnread = true
            stage.receive([1], by: token)
            #expect(connection.inbound.count == 0)
            pause(stage, at: 2)
            stage.receive([2, 2], [3], by: token)
            #expect(stage.delegate.take(token) == [.traffic([1]), .traffic([2, 2])])
            #expect(connection.inbound.count == 2)
            stage.delegate.onTraffic = nil
            stage.turn((token, .stopped(.datagrams)))
            stage.turn(token) { loop, connection in
                #expect(Array(loop.takeAll(connection)) == [2, 2])
            }
            stage.resume(token)
            #expect(stage.delegate.take(token) == [.traffic([3])])
            #expect(connection.inbound.count == 0)
        }
    }

    /// The library pauses reading, since the output above the mark was not sent.
    @Test("a datagram that a pause of the library left unread is shown again, then the kept ones")
    func thePauseOfTheLibraryShowsItAgain() throws {
        for leavesUnread in [true, false] {
            var configuration = LoopConfiguration()
            configuration.outboundHighMark = 1_000
            configuration.outboundLowMark = 500
            try withConnectedDatagrams(configuration) { stage, token in
                let connection = try #require(stage.loop.find(token))
                stage.turn(token) { $0.setReadsAhead($1, false) }
                stage.delegate.leavesUnread = leavesUnread
                stage.delegate.onTraffic = { loop, connection, _ in
                    loop.write(connection, [UInt8](repeating: 0, count: 2_000))
                }
                stage.receive([1], [2], [], by: token)
                #expect(stage.delegate.take(token) == [.traffic([1])])
                #expect(connection.pauses == .output)
                stage.delegate.onTraffic = nil
                stage.delegate.leavesUnread = false
                stage.turn((token, .sent(2_000)), (token, stage.datagram([3])))
                let again: [Told] = leavesUnread ? [.traffic([1])] : []
                let kept: [Told] = [.traffic([2]), .traffic([]), .traffic([3])]
                #expect(stage.delegate.take(token) == [.writable] + again + kept)
                let requests = stage.turn((token, .stopped(.datagrams)))
                #expect(requests == [.receiveDatagrams(token)])
            }
        }
    }

    /// The handler pauses in the callback that tells it that the library's pause is over.
    @Test("such a datagram is still shown again if another pause follows at once")
    func aPauseBehindThePause() throws {
        var configuration = LoopConfiguration()
        configuration.outboundHighMark = 1_000
        configuration.outboundLowMark = 500
        try withConnectedDatagrams(configuration) { stage, token in
            stage.turn(token) { $0.setReadsAhead($1, false) }
            stage.delegate.leavesUnread = true
            stage.delegate.onTraffic = { loop, connection, _ in
                loop.write(connection, [UInt8](repeating: 0, count: 2_000))
            }
            stage.receive([1], by: token)
            stage.delegate.onTraffic = nil
            stage.delegate.onWritable = { $0.pauseReading($1) }
            stage.turn((token, .sent(2_000)))
            #expect(stage.delegate.take(token) == [.traffic([1]), .writable])
            stage.delegate.leavesUnread = false
            stage.turn(token) { $0.resumeReading($1) }
            #expect(stage.delegate.take(token) == [.traffic([1])])
        }
    }

    // MARK: Pipes

    /// A batch that comes while the target is full would exceed its limit, and reset it.
    @Test("the datagrams of a pipe whose target is full wait for it, in order and without a loss")
    func aFullTargetGetsTheRestOfABatchLater() throws {
        var configuration = LoopConfiguration()
        configuration.outboundHighMark = 2_500
        configuration.outboundLowMark = 1_000
        configuration.outboundLimit = 5_000
        try withConnectedDatagrams(configuration) { stage, source in
            let target = try stage.open()
            stage.turn(source) { loop, connection in
                if let target = loop.find(target) { loop.pipe(connection, to: target) }
            }
            let all = (1...6 as ClosedRange<UInt8>).map { [UInt8](repeating: $0, count: 1_000) }
            let requests = stage.turn(after: 0, all.map { (source, stage.datagram($0)) })
            var sends = requests.compactMap { $0.bytes(to: target) }
            let isStopped = requests.contains(.stop(.datagrams, source))
            #expect(isStopped && sends.count == 1)
            stage.turn((source, .stopped(.datagrams)))
            for _ in all where sends.joined().count < 6_000 {
                let next = stage.turn((target, .sent(sends.last?.count ?? 0)))
                sends += next.compactMap { $0.bytes(to: target) }
            }
            let isWhole = Array(sends.joined()) == Array(all.joined())
            #expect(isWhole)
            #expect(stage.remote.counters.outboundOverflows.current == 0)
            #expect(drops(stage) == 0)
        }
    }

    @Test("a pipe gets the datagram whose callback makes it, and those that came in a pause")
    func aPipeGetsWhatIsUnread() throws {
        try withConnectedDatagrams { stage, source in
            let target = try stage.open()
            stage.delegate.leavesUnread = true
            stage.delegate.onTraffic = { loop, connection, shown in
                guard shown != [1] else { return loop.pauseReading(connection) }
                if let target = loop.find(target) { loop.pipe(connection, to: target) }
            }
            stage.receive([1], [2], [], [3], [4], by: source)
            #expect(stage.delegate.take(source) == [.traffic([1])])
            stage.turn((source, .stopped(.datagrams)))
            stage.delegate.leavesUnread = false
            stage.turn(source) { loop, connection in _ = loop.takeAll(connection) }
            stage.delegate.leavesUnread = true
            #expect(stage.resume(source) == [.send([2], target), .receiveDatagrams(source)])
            #expect(stage.delegate.take(source) == [.traffic([2])])
            #expect(stage.turn((target, .sent(1))) == [.send([3, 4], target)])
            stage.receive([5], by: source)
            #expect(stage.turn((target, .sent(2))) == [.send([5], target)])
            stage.turn((target, .sent(1)))
        }
    }
}

extension Stage.Request {
    /// The bytes of a send to this connection.
    fileprivate func bytes(to target: Token) -> [UInt8]? {
        if case .send(let bytes, target) = self { bytes } else { nil }
    }
}
