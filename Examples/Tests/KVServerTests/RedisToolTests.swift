/// Redis's own clients against kv-server.
import Glibc
import TestSupport
import Testing

@Suite struct RedisToolTests {
    private func cli(_ server: ServerProcess, _ words: [String], input: String = "") throws
        -> String
    {
        let (_, text) = try ServerProcess.run(
            ["redis-cli", "-p", "\(server.port)"] + words, input: input)
        return text
    }

    @Test("redis-cli works with the server", arguments: Form.all)
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

    @Test("redis-benchmark reports no error for chosen commands", arguments: Form.all, [1, 16])
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

    /// Runs redis-benchmark with its own list of commands. Its LRANGE tests read up to 600
    /// elements.
    @Test(
        "redis-benchmark reports no error for its own list of commands",
        arguments: ["epoll", "io_uring"])
    func redisBenchmarkWithoutAnyChoice(_ backend: String) throws {
        let server = try ServerProcess(Form(backend: backend, loops: 2))
        let (status, text) = try ServerProcess.run([
            "redis-benchmark", "-p", "\(server.port)", "-c", "20", "-n", "1000", "-P", "4", "-q",
        ])
        #expect(status == 0, "\(text)")
        for name in ["SPOP", "ZADD", "ZPOPMIN", "LRANGE_600", "MSET"] {
            #expect(text.contains(name), "\(text)")
        }
        #expect(!text.lowercased().contains("err"), "\(text)")
        #expect(try server.stop() == 0)
    }

    /// Sends the same commands to redis-server, which is another name of a program of redis-tools.
    @Test("the server's replies equal those of redis-server", arguments: ["epoll", "io_uring"])
    func repliesAreThoseOfRedis(_ backend: String) throws {
        let (status, text) = try ServerProcess.run(
            [
                "\(PackageFiles.root)/Scripts/differential-redis", "--backend", backend,
                "--seed", backend == "epoll" ? "1" : "2", ServerProcess.path,
            ], within: 180)
        #expect(status == 0, "\(text)")
    }

    /// A Python with a Redis client. For Debian's own Python, the package python3-redis has one; a
    /// later version also supports RESP3.
    private static let python = ["python3", "/usr/bin/python3"].first {
        (try? ServerProcess.run([$0, "-c", "import redis"]).0) == 0
    }

    @Test(
        "the Python client works with the server in RESP2 and RESP3", arguments: Form.all, [2, 3])
    func pythonClient(_ form: Form, _ version: Int) throws {
        let python = try #require(Self.python, "apt-get install python3-redis")
        let server = try ServerProcess(form)
        let program = """
            import redis
            more = {'protocol': \(version)} if redis.VERSION >= (5,) else {}
            r = redis.Redis(port=\(server.port), decode_responses=True, **more)
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
            def refused(do, reason):
                try:
                    do()
                except redis.ResponseError as e:
                    assert reason in str(e), e
                else:
                    raise SystemExit('not refused: ' + reason)
            refused(lambda: r.lpush('a', 1), 'wrong kind of value')
            with r.pipeline(transaction=True) as p:
                assert p.set('in', 1).incr('in').get('in').execute() == [True, 2, '2']
            with r.pipeline(transaction=True) as p:
                refused(p.set('in', 5).lpush('in', 1).incr('in').execute, 'wrong kind of value')
            assert r.get('in') == '6'
            refused(lambda: r.pipeline().watch('a'), "unknown command 'WATCH'")
            refused(lambda: r.eval('return 1', 0), "unknown command 'EVAL'")
            assert r.get('a') == '6'
            assert r.zadd('z', {'x': 1.5, 'y': 2}) == 2 and r.zscore('z', 'x') == 1.5
            pairs = lambda found: [tuple(pair) for pair in found]
            assert pairs(r.zrange('z', 0, -1, withscores=True)) == [('x', 1.5), ('y', 2.0)]
            assert pairs(r.zpopmin('z')) == [('x', 1.5)]
            assert r.incrbyfloat('fl', 0.5) == 0.5 and r.spop('s') in ('p', 'q')
            assert r.setex('e', 100, 'v') and r.ttl('e') == 100
            assert r.getex('e', persist=True) == 'v' and r.ttl('e') == -1
            assert r.command()['get']['first_key_pos'] == 1 and r.command_count() > 60
            assert r.client_list()[0]['resp'] in ('2', '3') and r.client_info()['db'] in (0, '0')
            assert r.info()['used_memory'] > 0 and r.config_get('SAVE') == {'SAVE': ''}
            assert 'GETNAME' in ' '.join(r.execute_command('CLIENT', 'HELP'))
            q = r.pubsub(); q.psubscribe('p*')
            assert q.get_message(timeout=5)['type'] == 'psubscribe'
            assert r.publish('pq', 'hi') == 1
            m = q.get_message(timeout=5)
            assert (m['type'], m['pattern'], m['channel']) == ('pmessage', 'p*', 'pq'), m
            q.close()
            s = r.pubsub(); s.subscribe('c', 'd')
            for name in 'cd':
                m = s.get_message(timeout=5)
                assert (m['type'], m['channel']) == ('subscribe', name), m
            for i in range(100): assert r.publish('c', i) == 1
            assert r.publish('d', 'end') == 1 and r.publish('e', 'nobody') == 0
            got = [s.get_message(timeout=5)['data'] for _ in range(101)]
            assert got == [str(i) for i in range(100)] + ['end'], got
            s.unsubscribe('c')
            assert s.get_message(timeout=5)['type'] == 'unsubscribe'
            assert r.publish('c', 'hi') == 0
            print('fine')
            """
        let (status, text) = try ServerProcess.run([python, "-c", program])
        #expect(status == 0 && text == "fine\n", "\(text)")
        #expect(try server.stop() == 0)
    }
}
