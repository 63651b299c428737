/// Tests of a connection that connects to others: it pauses until the last connect succeeds or
/// fails.
import Glibc
import MillraceTestSupport
import NetAPI
import Testing

@Suite struct AwaitedConnectTests {
    @Test(
        "input is delivered only after both of two connects have completed",
        arguments: Setup.receiving)
    func theFirstAnswerOfTwoDoesNotLetItsBytesBeShown(_ setup: Setup) throws {
        let quick = try RawListener()
        let slow = try FullBacklog(.unix)
        let (quickAddress, slowAddress) = (quick.address, slow.address)
        let story = Shared<[String]>([])
        let handler = TestHandler(
            open: { connection in
                guard connection.isAccepted else { return .none }
                connection.connect(to: quickAddress) { _, _ in
                    story.update { $0.append("quick") }
                }
                connection.connect(to: slowAddress, timeout: patience) { _, _ in
                    story.update { $0.append("slow") }
                }
                return .none
            },
            traffic: { connection in
                let text = String(decoding: connection.next())
                story.update { $0.append(text) }
                return .none
            })
        try withServer(setup, handler) { server in
            let client = try server.connect()
            try client.send("hello")
            try eventually("the first answer") { !story.value.isEmpty }
            pause(.milliseconds(50))
            #expect(story.value == ["quick"])
            try slow.makeRoom()
            try eventually("the bytes") { story.value.count >= 3 }
            #expect(story.value == ["quick", "slow", "hello"])
            client.close()
        }
    }

    /// The end waits like the bytes, and a failure closes the connection that requested the
    /// connects.
    @Test("onClose waits until both requested connects have completed", arguments: Setup.receiving)
    func theEndOfTheOneWhoAskedWaitsForBoth(_ setup: Setup) throws {
        let slow = try FullBacklog(.unix)
        let slowAddress = slow.address
        let story = Shared<[String]>([])
        let handler = TestHandler(
            open: { connection in
                guard connection.isAccepted else { return .none }
                for name in ["one", "two"] {
                    connection.connect(to: slowAddress, timeout: patience) { _, other in
                        story.update { $0.append(name) }
                        other.close()
                    }
                }
                return .none
            },
            close: { connection, _ in
                guard connection.isAccepted else { return .none }
                story.update { $0.append("closed") }
                return .none
            })
        try withServer(setup, handler) { server in
            let client = try server.connect()
            try handler.log.waitFor(.open)
            client.close()
            try slow.makeRoom()
            try eventually("the first answer") { !story.value.isEmpty }
            pause(.milliseconds(50))
            #expect(story.value.count == 1)
            try slow.makeRoom()
            try eventually("the end") { story.value.count == 3 }
            #expect(Set(story.value.prefix(2)) == ["one", "two"])
            #expect(story.value.last == "closed")
        }
    }
}
