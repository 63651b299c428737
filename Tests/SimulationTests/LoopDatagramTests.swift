import Glibc
import MillraceEventLoop
import MillraceSimulation
import Testing

/// A connected datagram socket, in orders and with errors that a test cannot get from a kernel.
@Suite struct LoopDatagramTests {
    private func failure(_ kind: OperationKind, _ number: Int32) -> QueuedEvent {
        .failed(kind, SystemError(number, "test"))
    }

    private static let ownLosses = [
        EACCES, EPERM, EINVAL, ENOBUFS, ENOMEM, EMSGSIZE, EADDRNOTAVAIL, EIO, EOPNOTSUPP, ENETRESET,
    ]
    /// Errors that a router or the peer's host may have reported for an earlier datagram.
    private static let oldNews = [ECONNREFUSED, EHOSTUNREACH, ENETUNREACH, EHOSTDOWN, ENOPROTOOPT]
    private static let losses = ownLosses + oldNews
    private static let ends = [EBADF, ENOTSOCK, ENOTCONN, EDESTADDRREQ, EPIPE, ENOSYS]

    /// The kernel returns such an error instead of sending the datagram.
    @Test(
        "a send that fails because of an earlier datagram is retried and loses no datagram",
        arguments: oldNews, [[1], []] as [[UInt8]])
    func newsOfAnEarlierOneCostsNothing(_ number: Int32, _ bytes: [UInt8]) throws {
        try withConnectedDatagrams { stage, token in
            for _ in 0..<2 {
                #expect(stage.write(bytes, to: token) == [.send(bytes, token)])
                let again = stage.turn((token, failure(.send, number)))
                #expect(again == [.send(bytes, token)])
                #expect(stage.turn((token, .sent(bytes.count))) == [])
            }
            #expect(stage.remote.counters.datagramDrops.current == 0)
            #expect(stage.remote.counters.bytesOut.current == 2 * bytes.count)
            // A second failure counts against the datagram itself. The next datagram has its own
            // retry.
            stage.write([2], to: token)
            stage.write([3], to: token)
            #expect(stage.turn((token, failure(.send, number))) == [.send([2], token)])
            #expect(stage.turn((token, failure(.send, number))) == [.send([3], token)])
            #expect(stage.remote.counters.datagramDrops.current == 1)
            #expect(stage.turn((token, failure(.send, number))) == [.send([3], token)])
            #expect(stage.turn((token, .sent(1))) == [])
        }
    }

    /// A connection that is being reset makes no retry.
    @Test("an error about an earlier datagram does not delay a reset")
    func newsOfAnEarlierOneDoesNotHoldUpAReset() throws {
        try withConnectedDatagrams { stage, token in
            stage.write([1], to: token)
            let requests = stage.turn(
                message: .run { loop in
                    if let connection = loop.find(token) { loop.abort(connection, .local) }
                }, (token, failure(.send, ECONNREFUSED)))
            #expect(requests == [.close(token)])
        }
    }

    @Test(
        "a send that fails counts as a dropped datagram, and the next datagram is sent",
        arguments: ownLosses)
    func aSendThatFailsIsALoss(_ number: Int32) throws {
        try withConnectedDatagrams { stage, token in
            #expect(stage.write([1], to: token) == [.send([1], token)])
            #expect(stage.write([2], to: token) == [])
            let next = stage.turn((token, failure(.send, number)))
            #expect(next == [.send([2], token)])
            #expect(stage.turn((token, .sent(1))) == [])
            #expect(stage.remote.counters.datagramDrops.current == 1)
            #expect(stage.remote.counters.bytesOut.current == 1)
            #expect(stage.delegate.take(token) == [])
        }
    }

    @Test("a send that fails with an error of the socket closes it", arguments: ends)
    func aSendThatTellsOfTheSocketEndsIt(_ number: Int32) throws {
        try withConnectedDatagrams { stage, token in
            stage.write([1], to: token)
            #expect(stage.turn((token, failure(.send, number))) == [.close(token)])
            let told = stage.delegate.take(token)
            #expect(told.count == 1 && told.first != .opened)
        }
    }

    /// The first retry comes at once, each later one after a delay.
    @Test(
        "a failed receive is retried at once and after each further failure with a delay",
        arguments: losses)
    func aReceiveThatFailsIsTriedAgainButNotWithoutRest(_ number: Int32) throws {
        try withConnectedDatagrams { stage, token in
            let error = failure(.datagrams, number)
            #expect(stage.turn((token, error)) == [.receiveDatagrams(token)])
            for _ in 0..<3 {
                #expect(stage.turn((token, error)) == [])
                // Other events of the connection cause no retry.
                #expect(stage.write([1], to: token) == [.send([1], token)])
                #expect(stage.turn((token, .sent(1))) == [])
                #expect(stage.turn(after: .milliseconds(20) - 1) == [])
                stage.turn(after: 1)
                #expect(stage.turn() == [.receiveDatagrams(token)])
            }
            #expect(stage.remote.counters.datagramDrops.current == 4)
            #expect(stage.delegate.take(token) == [])
            // After a long time a failure counts as the first again.
            stage.turn(after: .milliseconds(1_000))
            #expect(stage.turn((token, error)) == [.receiveDatagrams(token)])
        }
    }

    @Test("a receive that fails with an error of the socket closes it", arguments: ends)
    func aReceiveThatTellsOfTheSocketEndsIt(_ number: Int32) throws {
        try withConnectedDatagrams { stage, token in
            #expect(stage.turn((token, failure(.datagrams, number))) == [.close(token)])
            #expect(stage.remote.counters.datagramDrops.current == 0)
        }
    }

    // MARK: Datagram boundaries

    @Test("an empty write sends an empty datagram unless other writes join it")
    func anEmptyWriteIsOneUnlessOthersJoinIt() throws {
        try withConnectedDatagrams { stage, token in
            #expect(stage.write([], to: token) == [.send([], token)])
            let none = stage.turn(token) { loop, connection in
                loop.writeNothing(connection)
                loop.write(connection, [1, 2])
                loop.writeNothing(connection)
            }
            #expect(none == [])
            #expect(stage.write([], to: token) == [])
            #expect(stage.turn((token, .sent(0))) == [.send([1, 2], token)])
            #expect(stage.turn((token, .sent(2))) == [.send([], token)])
            #expect(stage.turn((token, .sent(0))) == [])
            #expect(stage.loop.find(token)?.outbound.isEmpty == true)
        }
    }

    /// A driver that reports 0 bytes has not sent the datagram.
    @Test("a datagram is sent again when the driver reports 0 bytes sent")
    func whatWasNotTakenIsSentAgain() throws {
        try withConnectedDatagrams { stage, token in
            stage.write([1], to: token)
            #expect(stage.turn((token, .sent(0))) == [.send([1], token)])
            #expect(stage.turn((token, .sent(1))) == [])
        }
    }

    @Test("pieces in several chunks are sent as one datagram")
    func piecesInSeveralChunksAreJoined() throws {
        try withConnectedDatagrams { stage, token in
            let first = [UInt8](repeating: 1, count: 40_000)
            let requests = stage.turn(token) { loop, connection in
                loop.write(connection, first)
                let room = loop.reserve(connection, 30_000)
                room?.storeBytes(of: 2, as: UInt8.self)
                loop.commit(connection, 1)
                _ = loop.reserve(connection, 65_000)
                loop.commit(connection, 0)
                loop.write(connection, [3])
            }
            #expect(requests == [.send(first + [2, 3], token)])
            #expect(stage.turn((token, .sent(40_002))) == [])
        }
    }

    @Test("datagrams posted together are sent as separate datagrams")
    func thoseThatArePostedTogetherStayApart() throws {
        try withConnectedDatagrams { stage, token in
            let requests = stage.turn(
                message: .run { loop in
                    guard let connection = loop.find(token) else { return }
                    loop.write(connection, [0])
                    for byte: UInt8 in 1...3 {
                        loop.writeWhole(connection) {
                            loop.write(connection, [byte])
                            loop.write(connection, [byte])
                        }
                    }
                    loop.write(connection, [4])
                })
            #expect(requests == [.send([0], token)])
            for byte: UInt8 in 1...3 {
                #expect(stage.turn((token, .sent(2))) == [.send([byte, byte], token)])
            }
            #expect(stage.turn((token, .sent(2))) == [.send([4], token)])
            stage.turn((token, .sent(1)))
        }
    }

    /// Closures outside the connection's callbacks: of another connection, of the loop, of a timer.
    @Test("each closure of one turn writes its own datagram")
    func closuresOfOneTurnStayApart() throws {
        try withConnectedDatagrams { stage, token in
            for byte: UInt8 in 1...3 {
                _ = stage.remote.run { loop in
                    guard let connection = loop.find(token) else { return }
                    loop.write(connection, [byte])
                    loop.write(connection, [byte])
                }
            }
            #expect(stage.turn() == [.send([1, 1], token)])
            #expect(stage.turn((token, .sent(2))) == [.send([2, 2], token)])
            #expect(stage.turn((token, .sent(2))) == [.send([3, 3], token)])
            stage.turn((token, .sent(2)))
        }
    }

    /// Both run in one round of due timers.
    @Test("a tick's datagram is separate from that of a timer's closure before it")
    func aTickStaysApart() throws {
        try withConnectedDatagrams { stage, token in
            let write: @Sendable (Loop, UInt8) -> Void = { loop, byte in
                if let connection = loop.find(token) { loop.write(connection, [byte]) }
            }
            stage.turn(
                message: .run { loop in
                    _ = loop.schedule(after: 0) { [unowned loop] in write(loop, 1) }
                })
            stage.delegate.onTick = { write($0, 2) }
            try stage.loop.boot()
            #expect(stage.turn() == [.send([1], token)])
            #expect(stage.turn((token, .sent(1))) == [.send([2], token)])
            stage.turn((token, .sent(1)))
        }
    }

    /// Empty datagrams use memory too.
    @Test("the outbound limit bounds the number of waiting empty datagrams")
    func howManyWaitIsBounded() throws {
        var configuration = LoopConfiguration()
        configuration.outboundHighMark = 50_000
        configuration.outboundLimit = 100_000
        try withConnectedDatagrams(configuration) { stage, token in
            for _ in 0..<389 { stage.write([], to: token) }
            #expect(stage.remote.counters.outboundOverflows.current == 0)
            var requests: [Stage.Request] = []
            for _ in 0..<2 { requests += stage.write([], to: token) }
            #expect(stage.remote.counters.outboundOverflows.current > 0)
            #expect(requests.contains(.close(token)))
        }
    }

    /// The marks count like the limit. Otherwise a handler that respects the marks would be reset.
    @Test("the high and low marks count waiting empty datagrams as the limit does")
    func marksCountWhatALimitCounts() throws {
        var configuration = LoopConfiguration()
        configuration.outboundHighMark = 10_000
        configuration.outboundLowMark = 5_000
        try withConnectedDatagrams(configuration) { stage, token in
            let connection = try #require(stage.loop.find(token))
            for _ in 0..<38 { stage.write([], to: token) }
            #expect(connection.isWritable == true)
            stage.write([], to: token)
            #expect(connection.isWritable == false)
            for left in (19..<39).reversed() {
                #expect(stage.delegate.take(token) == [], "\(left) are left")
                stage.turn((token, .sent(0)))
            }
            #expect(stage.delegate.take(token) == [.writable])
            #expect(connection.isWritable == true)
            for _ in 0..<19 { stage.turn((token, .sent(0))) }
        }
    }

    /// A pipe stops at the same mark.
    @Test("a pipe stops at the high mark of datagrams")
    func aPipeStopsAtTheHighMarkOfDatagrams() throws {
        var configuration = LoopConfiguration()
        configuration.outboundHighMark = 2_000
        configuration.outboundLowMark = 1_000
        try withConnectedDatagrams(configuration) { stage, target in
            let source = try stage.open()
            stage.turn(source) { loop, connection in
                loop.find(target).map { loop.pipe(connection, to: $0) }
            }
            var stops = 0
            for sent in 1...10 {
                let requests = stage.turn((source, .received([1])))
                if requests.contains(.stop(.receive, source)) { stops = sent }
                if stops > 0 { break }
            }
            #expect(stops == 8)
            stage.turn((source, .stopped(.receive)))
            for _ in 0..<8 { stage.turn((target, .sent(1))) }
        }
    }

    // MARK: An empty datagram in hand

    @Test("an empty datagram is available once, and only in the callback that delivers it")
    func anEmptyOneIsInHandOnceAndOnlyWhileItIsShown() throws {
        try withConnectedDatagrams { stage, token in
            let taken = Monitor<[Bool]>([])
            stage.delegate.onTraffic = { loop, connection, _ in
                for _ in 0..<2 {
                    let isTaken = loop.takeEmptyDatagram(connection)
                    taken.withLock { $0.append(isTaken) }
                }
            }
            stage.turn(token) { $0.wake($1) }
            #expect(taken.withLock { $0 } == [false, false])
            stage.receive([], by: token)
            #expect(taken.withLock { $0 } == [false, false, true, false])
            stage.receive([1], by: token)
            #expect(taken.withLock { $0 }.suffix(2) == [false, false])
        }
    }

    @Test("the results of sends are reported once and in order")
    func promisesAreToldOnceAndInOrder() throws {
        try withConnectedDatagrams { stage, token in
            let told = Monitor<[Int]>([])
            stage.turn(
                message: .run { loop in
                    guard let connection = loop.find(token) else { return }
                    for (number, bytes) in ([[], [1], [], [2, 3]] as [[UInt8]]).enumerated() {
                        let tell: SendResult = { cause in
                            told.withLock { $0.append(cause == nil ? number : -number) }
                        }
                        loop.writeWhole(connection, tell: tell) { loop.write(connection, bytes) }
                    }
                })
            stage.turn((token, .sent(0)))
            #expect(told.withLock { $0 } == [0])
            stage.turn((token, failure(.send, EPERM)))
            #expect(told.withLock { $0 } == [0, 1])
            stage.turn((token, .sent(0)))
            stage.turn((token, .sent(2)))
            #expect(told.withLock { $0 } == [0, 1, 2, 3])
        }
    }

    // MARK: Bound sockets

    /// Each failure would otherwise make a socket deaf for half a second, for its whole life.
    @Test("a datagram ends a series of failed receives, so the next failure costs 20 ms again")
    func aDatagramEndsASeriesOfFailures() throws {
        try withStage(receivesDatagrams: true) { stage in
            let token = try stage.startAccepting()
            let error = failure(.datagrams, ENOMEM)
            func fails(for milliseconds: Nanoseconds) {
                stage.turn((token, error))
                let delay = Nanoseconds.milliseconds(milliseconds)
                #expect(stage.owner.take() == [.backOff(ENOMEM, retryIn: delay)])
                stage.turn(after: delay)
                #expect(stage.turn() == [.receiveDatagrams(token)])
            }
            for milliseconds in [20, 40, 80, 160, 320, 500, 500] as [Nanoseconds] {
                fails(for: milliseconds)
            }
            for _ in 0..<2 {
                stage.receive([1], by: token)
                fails(for: 20)
            }
            fails(for: 40)
        }
    }

    // MARK: Sends of other threads

    @Test("a loop refuses datagrams of other threads above 4 MiB, and counts each refusal")
    func sendsOfOtherThreadsAreBounded() throws {
        try withStage { stage in
            let sent = Monitor(0)
            func send(_ count: Int) -> Bool {
                stage.remote.send(bytes: count) { _ in sent.withLock { $0 += 1 } }
            }
            // With 64 bytes for the message.
            for _ in 0..<64 { #expect(send(65_472)) }
            for count in [65_472, 0] { #expect(!send(count)) }
            #expect(stage.remote.counters.datagramRefusals.current == 2)
            stage.turn()
            #expect(sent.withLock { $0 } == 64)
            // A single one is never too large: the kernel decides.
            #expect(send(LoopRemote.datagramLimit))
            #expect(!send(0))
            stage.turn()
            #expect(send(0))
            stage.turn()
            #expect(sent.withLock { $0 } == 66)
            #expect(stage.remote.counters.datagramRefusals.current == 3)
        }
    }
}
