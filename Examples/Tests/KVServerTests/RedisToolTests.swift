/// Redis's own clients against kv-server.
import Foundation
import Testing

@Suite struct RedisToolTests {
    private func cli(_ server: ServerProcess, _ words: [String], input: String? = nil) throws
        -> String
    {
        let (_, text) = try ServerProcess.run(
            ["redis-cli", "-p", "\(server.port)"] + words, input: input)
        return text
    }

    @Test(arguments: Form.all)
    func redisCLI(_ form: Form) throws {
        let server = try ServerProcess(form)
        #expect(try cli(server, ["SET", "a", "b c"]) == "OK\n")
        #expect(try cli(server, ["GET", "a"]) == "b c\n")
        #expect(try cli(server, ["--no-raw", "GET", "none"]) == "(nil)\n")
        #expect(try cli(server, ["RPUSH", "l", "1", "2"]) == "2\n")
        #expect(try cli(server, ["-3", "HGETALL", "none"]) == "\n")
        #expect(try cli(server, ["--scan"]).split(separator: "\n").sorted() == ["a", "l"])
        #expect(try cli(server, ["INFO"]).contains("redis_version:"))
        #expect(try cli(server, ["INCR", "a"]).contains("ERR value is not an integer"))
        let piped = try cli(
            server, ["--pipe"],
            input: (0..<5000).map { "*3\r\n$3\r\nSET\r\n$5\r\nk\(1000 + $0 % 9000)\r\n$1\r\nv\r\n" }
                .joined())
        #expect(piped.contains("errors: 0, replies: 5000"))
        #expect(try server.stop() == 0)
    }

    @Test(arguments: Form.all, [1, 16])
    func redisBenchmark(_ form: Form, _ depth: Int) throws {
        let server = try ServerProcess(form)
        let (status, text) = try ServerProcess.run([
            "redis-benchmark", "-p", "\(server.port)", "-c", "50", "-n", "5000", "-P", "\(depth)",
            "-t", "ping,set,get,incr,lpush,rpush,lpop,rpop,sadd,hset,lrange_100,mset", "--csv",
        ])
        #expect(status == 0, "\(text)")
        #expect(text.split(separator: "\n").count >= 14, "\(text)")
        #expect(!text.lowercased().contains("err"), "\(text)")
        #expect(try server.stop() == 0)
    }

    /// `pip install redis` brings it; without it there is nothing to test.
    @Test(
        .enabled(if: (try? ServerProcess.run(["python3", "-c", "import redis"]).0) == 0),
        arguments: Form.all, [2, 3])
    func pythonClient(_ form: Form, _ version: Int) throws {
        let server = try ServerProcess(form)
        let program = """
            import redis
            r = redis.Redis(port=\(server.port), protocol=\(version), decode_responses=True)
            assert r.set('a', 1, ex=100) and r.get('a') == '1' and r.ttl('a') == 100
            assert r.incr('a', 5) == 6 and r.mget('a', 'b') == ['6', None]
            assert r.hset('h', mapping={'x': 1, 'y': 2}) == 2
            assert r.hgetall('h') == {'x': '1', 'y': '2'}
            assert r.sadd('s', 'p', 'q') == 2 and r.smembers('s') == {'p', 'q'}
            assert r.rpush('l', 1, 2, 3) == 3 and r.lrange('l', 0, -1) == ['1', '2', '3']
            assert sorted(r.scan_iter()) == ['a', 'h', 'l', 's']
            with r.pipeline(transaction=False) as p:
                for i in range(1000): p.set(i, i).get(i)
                assert p.execute() == [v for i in range(1000) for v in (True, str(i))]
            try:
                r.lpush('a', 1)
                raise SystemExit('no error')
            except redis.ResponseError as e:
                assert 'wrong kind of value' in str(e), e
            s = r.pubsub(); s.subscribe('c')
            assert s.get_message(timeout=5)['type'] == 'subscribe'
            assert r.publish('c', 'hi') == 1
            assert s.get_message(timeout=5)['data'] == 'hi'
            print('fine')
            """
        let (status, text) = try ServerProcess.run(["python3", "-c", program])
        #expect(status == 0 && text == "fine\n", "\(text)")
        #expect(try server.stop() == 0)
    }
}
