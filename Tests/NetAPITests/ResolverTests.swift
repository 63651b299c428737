/// Tests of resolvers that fail, are slow, answer oddly, or get many questions at once.
import Glibc
import MillraceTestSupport
import NetAPI
import Testing

@Suite struct ResolverTests {
    private static let host: Address = "tcp://peer.test:9"

    private struct Trouble: Error, CustomStringConvertible {
        let description: String
    }

    @Test("a resolver's error is the connect's, with the name and its words", arguments: Setup.all)
    func failure(_ setup: Setup) throws {
        let words = "the directory\nis closed " + String(repeating: "x", count: 10_000)
        for manner in [TestResolver.Manner.atOnce, .later] {
            let resolver = TestResolver(manner, .failure(Trouble(description: words)))
            try NamedConnectTests.withClient(setup, resolver) { client in
                let error = try NamedConnectTests.error(client, Self.host)
                #expect(error.code == .unresolved && error.step == .resolving)
                #expect(error.cause.contains("tcp://peer.test:9"))
                #expect(error.cause.contains("the directory is closed"))
                #expect(error.cause.utf8.count < 400 && !error.remedy.isEmpty)
                #expect(client.statistics.lookupFailures == 1)
            }
        }
    }

    @Test(
        "a slow lookup ends at the deadline, and its late answer is dropped", arguments: Setup.all)
    func deadline(_ setup: Setup) throws {
        let resolver = TestResolver.silent(["127.0.0.1"])
        let told = Shared(0)
        try NamedConnectTests.withClient(setup, resolver) { client in
            let begin = ContinuousClock.now
            client.connect(to: Self.host, timeout: .milliseconds(100)) { result in
                told.update { $0 += 1 }
                guard case .failure(let error) = result else { return }
                #expect(error.code == .timedOut && error.step == .resolving)
            }
            try eventually("the outcome") { told.value == 1 }
            #expect(ContinuousClock.now - begin >= .milliseconds(100))
            #expect(!resolver.queries[0].isWanted)
            resolver.give()
            let error = try NamedConnectTests.error(client, Self.host, timeout: .milliseconds(20))
            #expect(error.step == .resolving)
            #expect(told.value == 1 && client.connectionCount == 0)
        }
    }

    @Test("a cancel during a lookup returns at once", arguments: Setup.all)
    func cancel(_ setup: Setup) async throws {
        let resolver = TestResolver.silent(["127.0.0.1"])
        let options = setup.options { $0.names.resolver = resolver }
        let client = try Client(TestHandler(), options: options)
        try bounded("Client.start") { try client.start() }
        let task = Task { try await client.connect(to: Self.host, timeout: .seconds(600)) }
        try eventually("it is asked") { resolver.queries.count == 1 }
        task.cancel()
        let fate = try await patiently("the cancel") {
            await asyncWord {
                _ = try await task.value
                return "connected"
            }
        }
        #expect(fate == "CancellationError()")
        try eventually("the lookup is over") { !resolver.queries[0].isWanted }
        resolver.give()
        try await patiently("await Client.stop") { await client.stop() }
        #expect(client.statistics.open == 0)
    }

    @Test("a stop does not wait for a lookup, and reports its connect once", arguments: Setup.all)
    func stop(_ setup: Setup) throws {
        let resolver = TestResolver.silent(["127.0.0.1"])
        let told = Shared<[String]>([])
        try NamedConnectTests.withClient(setup, resolver) { client in
            for _ in 0..<10 {
                client.connect(to: Self.host, timeout: .seconds(600)) { result in
                    told.update { $0.append(word { "\(try result.get())" }) }
                }
            }
            try eventually("all are asked") { resolver.queries.count == 10 }
            // A stop that waited for them would wait longer than the test.
            try bounded("Client.stop") { client.stop(within: patience * 8) }
            #expect(told.value == Array(repeating: "system", count: 10))
        }
        resolver.give()
        #expect(told.value.count == 10)
    }

    @Test(
        "a second answer, an empty or wrong one, and a dropped question end once",
        arguments: Setup.all)
    func oddAnswers(_ setup: Setup) throws {
        try withServer(setup, listen: ["tcp://127.0.0.1:0"]) { server in
            let port = try #require(server.addresses[0].port)
            let target = Address.tcp("peer.test", port: port)
            let twice = TestResolver.silent(["127.0.0.1"])
            try NamedConnectTests.withClient(setup, twice) { client in
                let told = Shared(0)
                client.connect(to: target) { _ in told.update { $0 += 1 } }
                try eventually("it is asked") { twice.queries.count == 1 }
                for _ in 0..<1000 { twice.give() }
                twice.give(.success(["127.0.0.2"]))
                twice.give(.failure(Mishap()))
                try eventually("the outcome") { told.value == 1 }
                let digits = Address.tcp("127.0.0.1", port: port)
                _ = try NamedConnectTests.outcome(client, digits).get()
                #expect(told.value == 1 && client.connectionCount == 2)
            }
            for (hosts, words) in [([], "no address"), (["peer.other"], "peer.other")] {
                try NamedConnectTests.withClient(setup, TestResolver(hosts)) { client in
                    let error = try NamedConnectTests.error(client, target)
                    #expect(error.code == .unresolved && error.step == .resolving)
                    #expect(error.cause.contains(words))
                }
            }
            let silent = TestResolver.silent()
            try NamedConnectTests.withClient(setup, silent) { client in
                let told = Shared<NetError?>(nil)
                client.connect(to: target, timeout: .seconds(600)) { result in
                    if case .failure(let error) = result { told.value = error }
                }
                try eventually("it is asked") { silent.queries.count == 1 }
                silent.drop()
                try eventually("the outcome") { told.value != nil }
                #expect(told.value?.cause.contains("dropped") == true)
            }
        }
    }

    @Test("of 10,000 addresses 32 are tried", arguments: Setup.all)
    func manyAddresses(_ setup: Setup) throws {
        let listener = try RawListener()
        let port = try #require(listener.address.port)
        let hosts = (0..<10_000).map { "127.0.\(1 + $0 / 250).\(1 + $0 % 250)" }
        try NamedConnectTests.withClient(setup, TestResolver(hosts)) { client in
            let target = Address.tcp("peer.test", port: port)
            let error = try NamedConnectTests.error(client, target)
            #expect(error.errno == ECONNREFUSED && error.cause.contains("28 more failed"))
            #expect(error.cause.utf8.count < 500)
        }
    }

    @Test("1,000 connects by name at once all succeed with few threads", arguments: Setup.all)
    func thousand(_ setup: Setup) throws {
        guard Probe.allowDescriptors(4096) else { return }
        try withServer(setup, listen: ["tcp://127.0.0.1:0"]) { server in
            let port = try #require(server.addresses[0].port)
            let threads = Probe.threads
            let most = Shared(0)
            try NamedConnectTests.withClient(setup, nil, { $0.names.threads = 3 }) { client in
                let told = Shared<[String]>([])
                for _ in 0..<1000 {
                    client.connect(to: .tcp("LOCALHOST", port: port), timeout: patience) { result in
                        let text = word {
                            _ = try result.get()
                            return "connected"
                        }
                        told.update { $0.append(text) }
                    }
                }
                try eventually("each has its outcome") {
                    most.update { $0 = max($0, Probe.threads) }
                    return told.value.count == 1000
                }
                #expect(Set(told.value) == ["connected"], "\(Set(told.value))")
                // Two for threads of the tests, which come and go.
                #expect(most.value <= threads + setup.loops + 3 + 2)
                #expect(client.statistics.lookups == 1000)
            }
        }
    }

    /// In a network namespace of its own, which reaches no name server: nothing is sent.
    /// Only an administrator may make one.
    @Test("a name that the system cannot resolve fails with getaddrinfo's words")
    func unknownToTheSystem() async {
        await #expect(processExitsWith: .success) {
            typealias Unshare = @convention(c) (CInt) -> CInt
            let network: CInt = 0x4000_0000  // CLONE_NEWNET
            guard let symbol = dlsym(nil, "unshare"),
                unsafeBitCast(symbol, to: Unshare.self)(network) == 0
            else { return }
            let resolver = SystemResolver(threads: 1)
            let options = Options(backend: .epoll).with { $0.names.resolver = resolver }
            let client = try Client(TestHandler(), options: options)
            try client.start()
            let error = try NamedConnectTests.error(client, "tcp://nowhere.invalid:80")
            #expect(error.code == .unresolved && error.step == .resolving)
            #expect(error.cause.hasPrefix("tcp://nowhere.invalid:80: the host was not resolved: "))
            #expect(error.cause.contains("name"), "\(error)")
            client.stop()
        }
    }

    /// A resolver in front of the system's, whose threads the test holds.
    private final class HeldResolver: Resolver {
        let gate = Gate()
        private let own = SystemResolver(threads: 2, queued: 5)

        func resolve(
            _ query: HostQuery, answer: @escaping @Sendable (Result<[String], any Error>) -> Void
        ) {
            own.resolve(query) { [gate] result in
                // A refusal is answered on the loop's thread.
                if case .success = result { gate.wait() }
                answer(result)
            }
        }
    }

    @Test("lookups above the queue of the system's resolver are refused", arguments: Setup.all)
    func fullQueue(_ setup: Setup) throws {
        let resolver = HeldResolver()
        let before = Probe.descriptors
        let client = try Client(
            TestHandler(), options: setup.options { $0.names.resolver = resolver })
        try bounded("Client.start") { try client.start() }
        let told = Shared<[String]>([])
        for _ in 0..<50 {
            client.connect(to: .tcp("LOCALHOST", port: 1), timeout: .seconds(600)) { result in
                told.update { $0.append(word { "\(try result.get())" }) }
            }
        }
        try eventually("the pool is held") { resolver.gate.isReached }
        try eventually("the others are refused") { told.value.count >= 43 }
        #expect(Set(told.value) == ["overloaded"])
        #expect(client.statistics.lookupFailures == told.value.count)
        try bounded("Client.stop") { client.stop() }
        #expect(told.value.count == 50 && told.value.count { $0 == "system" } <= 7)
        resolver.gate.open()
        try eventually("every descriptor closed") { Probe.descriptors <= before }
    }
}
