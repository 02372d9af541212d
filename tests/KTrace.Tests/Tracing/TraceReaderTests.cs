using System.Text;
using KTrace.Symbols;
using KTrace.Tracing;

namespace KTrace.Tests.Tracing;

public class TraceReaderTests
{
    private const string Header =
        """{"type":"header","format":1,"tool":"t","arch":"x86-64","tracepoints":[{"id":1,"requested":"f","symbol":"f","state":"armed"}]}""";

    private const string Frame = """{"type":"frame","id":0,"function":"f","offset":0}""";
    private const string Path = """{"type":"path","id":0,"frames":[0]}""";
    private const string Hit = """{"type":"hit","seq":1,"tracepoint":1,"path":0,"end":{"reason":"user"}}""";

    [Fact]
    public void A_trace_cut_at_any_byte_keeps_every_complete_record()
    {
        // A recorder that is killed leaves such a file: all records so far, and perhaps a part of the next one.
        byte[] bytes = TraceSamples.Bytes(
        [
            GdbReference.Header,
            .. GdbReference.Hits.Skip(14).Take(2),
            new TraceRecord.Module("漢字", 1),
            new TraceRecord.Console(null, "ümläut \\ \" }"),
            new TraceRecord.End(2, "done", 1),
        ]);
        int headerEnd = Array.IndexOf(bytes, (byte)'\n');
        for (int length = 0; length < bytes.Length; length++)
        {
            byte[] cut = bytes[..length];
            // A record is complete with its closing brace; the line feed adds nothing.
            string[] lines = Encoding.UTF8.GetString(bytes).Split('\n', StringSplitOptions.RemoveEmptyEntries);
            int complete = 0, end = 0, records = 0;
            foreach (string line in lines)
            {
                end += Encoding.UTF8.GetByteCount(line);
                if (end > length)
                {
                    break;
                }

                complete++;
                records += line.StartsWith("{\"type\":\"frame\"", StringComparison.Ordinal) || line.StartsWith("{\"type\":\"path\"", StringComparison.Ordinal) ? 0 : 1;
                end++;
            }

            if (length < headerEnd)
            {
                MalformedFileException e = Assert.Throws<MalformedFileException>(() => TraceSamples.Reader(cut));
                Assert.Equal("line 1", e.Section);
                continue;
            }

            using TraceReader reader = TraceSamples.Reader(cut);
            Assert.Equal(records, reader.ReadAll().Count());
            bool torn = length > 0 && cut[^1] != '\n' && complete == Encoding.UTF8.GetString(cut).Count(c => c == '\n');
            Assert.Equal(torn, reader.Truncated);
            Assert.Equal(complete < lines.Length, reader.Incomplete is not null);
        }
    }

    [Fact]
    public void A_power_cut_may_leave_NUL_bytes_at_the_end()
    {
        byte[] bytes = [.. TraceSamples.Bytes(GdbReference.Records().SkipLast(1)), .. new byte[9_000_000]];

        using TraceReader reader = TraceSamples.Reader(bytes);

        Assert.Equal(19, reader.ReadAll().Count(record => record is TraceRecord.Hit));
        Assert.True(reader.Truncated);
    }

    [Fact]
    public void A_last_record_that_lacks_only_its_line_feed_is_complete()
    {
        using TraceReader reader = TraceSamples.Reader(Encoding.UTF8.GetBytes(Header + "\n" + """{"type":"end","hits":0,"reason":"r","seconds":1}"""));

        Assert.IsType<TraceRecord.End>(reader.ReadAll().Last());
        Assert.Null(reader.Incomplete);
    }

    [Fact]
    public void A_byte_order_mark_CR_LF_and_empty_lines_are_tolerated()
    {
        using TraceReader reader = TraceSamples.Reader(Encoding.UTF8.GetBytes("\ufeff" + Header + "\r\n\r\n\n  \n" + Frame + "\r\n" + Path + " \n" + Hit + "\r\n"));

        Assert.Equal(2, reader.ReadAll().Count());
        Assert.False(reader.Truncated);
    }

    [Fact]
    public void Unknown_records_and_fields_are_ignored_and_fields_may_come_in_any_order()
    {
        using TraceReader reader = TraceSamples.Reader(
            """{"arch":"a","new":{"type":"x"},"tool":"t","type":"header","format":1,"tracepoints":[{"new":[1],"state":"s","requested":"f","id":1}]}""",
            """{"type":"symbols","id":1,"anything":[[[]]]}""",
            Frame,
            """{"frames":[0],"id":0,"type":"path"}""",
            """{"type":"values","new":[],"args":[{"new":{},"value":"0x19","name":"irq"}],"id":1}""",
            """{"type":"hit","seq":1,"colours":[{"name":"irq"}],"values":[1],"tracepoint":1,"path":0,"end":{"reason":"user","new":1},"prints":[{"new":1,"expression":"a"}]}""",
            """{"type":"end","hits":1,"reason":"r","seconds":1}""",
            """{"type":"index","after":"the end"}""");

        TraceRecord.Hit hit = Assert.Single(reader.ReadAll().OfType<TraceRecord.Hit>());

        Assert.Equal("f", hit.Path.Frames[0].Function);
    }

    [Fact]
    public void A_newer_format_is_refused_with_a_remedy_before_anything_else_is_looked_at()
    {
        MalformedFileException e = Assert.Throws<MalformedFileException>(() => TraceSamples.Reader("""{"type":"header","format":3,"tool":7}"""));

        Assert.Contains("format 3 is newer than this ktrace reads (2)", e.Message);
    }

    [Theory]
    [InlineData("a path to an unknown frame", """{"type":"path","id":0,"frames":[0]}""")]
    [InlineData("a hit of an unknown path", Frame, """{"type":"hit","seq":1,"tracepoint":1,"path":0,"end":{"reason":"user"}}""")]
    [InlineData("a hit of an unknown tracepoint", Frame, Path, """{"type":"hit","seq":1,"tracepoint":2,"path":0,"end":{"reason":"user"}}""")]
    [InlineData("a frame twice", Frame, Frame)]
    [InlineData("a path twice", Frame, Path, Path)]
    [InlineData("a hit twice", Frame, Path, Hit, Hit)]
    [InlineData("a hit zero", Frame, Path, """{"type":"hit","seq":0,"tracepoint":1,"path":0,"end":{"reason":"user"}}""")]
    [InlineData("a header twice", Header)]
    [InlineData("a record after the end", """{"type":"end","hits":0,"reason":"r","seconds":1}""", """{"type":"note","text":""}""")]
    [InlineData("an id beyond 31 bits", """{"type":"frame","id":2147483648,"function":"f"}""")]
    [InlineData("a huge id", """{"type":"frame","id":1e300,"function":"f"}""")]
    [InlineData("a negative id", """{"type":"frame","id":-1,"function":"f"}""")]
    [InlineData("a fractional id", """{"type":"frame","id":0.5,"function":"f"}""")]
    [InlineData("a string for a number", """{"type":"frame","id":"0","function":"f"}""")]
    [InlineData("a number for a string", """{"type":"frame","id":0,"function":5}""")]
    [InlineData("null for a string", """{"type":"frame","id":0,"function":null}""")]
    [InlineData("a missing field", """{"type":"frame","id":0}""")]
    [InlineData("an array for an object", """{"type":"console","text":"a","clock":[]}""")]
    [InlineData("an object for an array", Frame, """{"type":"path","id":0,"frames":{}}""")]
    [InlineData("decimal addresses", """{"type":"module","name":"m","base":"1234"}""")]
    [InlineData("an address of 17 digits", """{"type":"module","name":"m","base":"0x12345678123456781"}""")]
    [InlineData("a number for an address", """{"type":"module","name":"m","base":1234}""")]
    [InlineData("pcs that do not fit the path", Frame, Path, """{"type":"hit","seq":1,"tracepoint":1,"path":0,"pcs":["0x1","0x2"],"end":{"reason":"user"}}""")]
    [InlineData("no JSON", "type=hit")]
    [InlineData("half a record in the middle", """{"type":"hit","seq":1,""", Frame)]
    [InlineData("two records in a line", Frame + Path)]
    [InlineData("an array as record", "[1]")]
    [InlineData("a number as record", "1")]
    [InlineData("a type that is no string", """{"type":5}""")]
    [InlineData("no type", "{}")]
    [InlineData("half a surrogate pair", """{"type":"note","text":"\ud800"}""")]
    [InlineData("half a surrogate pair in a name", """{"\ud800":1,"type":"note","text":""}""")]
    [InlineData("infinite seconds", """{"type":"end","hits":0,"reason":"r","seconds":1e999}""")]
    [InlineData("NUL bytes in the middle", "\0\0\0\0", Frame)]
    [InlineData("NUL bytes in a record", "{\"type\":\"note\",\0\"text\":\"\"}")]
    public void A_line_that_cannot_be_true_is_refused_with_its_number(string what, params string[] lines)
    {
        using TraceReader reader = TraceSamples.Reader([Header, .. lines]);

        MalformedFileException e = Assert.Throws<MalformedFileException>(() => reader.ReadAll().Count());

        int bad = what is "half a record in the middle" or "NUL bytes in the middle" ? 2 : lines.Length + 1;
        Assert.True(e.Section == $"line {bad}", $"{what}: {e.Message}");
        Assert.InRange(e.Offset, 0, lines[bad - 2].Length);
        Assert.Equal("sample.ktrace", e.File);
    }

    [Theory]
    [InlineData("")]
    [InlineData("\n\n")]
    [InlineData("\u007fELF\u0002\u0001")]
    [InlineData("{}")]
    [InlineData("[]\n")]
    [InlineData("""{"type":"hit"}""")]
    [InlineData("""{"type":"header","format":0,"tool":"t","arch":"a"}""")]
    [InlineData("""{"type":"header","tool":"t","arch":"a"}""")]
    [InlineData("some text\n")]
    public void A_file_that_is_no_trace_is_refused_when_it_is_opened(string content)
    {
        MalformedFileException e = Assert.Throws<MalformedFileException>(() => TraceSamples.Reader(Encoding.Latin1.GetBytes(content)));

        Assert.StartsWith("sample.ktrace: line ", e.Message);
    }

    [Fact]
    public void Deep_JSON_is_refused()
    {
        using TraceReader reader = TraceSamples.Reader(Header, "{\"type\":\"x\",\"a\":" + new string('[', 100_000));

        Assert.Throws<MalformedFileException>(() => reader.ReadAll().Count());
    }

    [Fact]
    public void A_line_of_ten_megabytes_is_refused_without_reading_it_whole()
    {
        var source = new EndlessStream(Encoding.UTF8.GetBytes(Header + "\n{\"type\":\"note\",\"text\":\""));
        using TraceReader reader = TraceReader.Open(source, "endless");

        MalformedFileException e = Assert.Throws<MalformedFileException>(() => reader.ReadAll().Count());

        Assert.Contains("a line of more than 4194304 bytes", e.Message);
        Assert.InRange(source.Given, 0, 10_000_000);
    }

    [Fact]
    public void Paths_and_names_cannot_be_multiplied_into_gigabytes()
    {
        string many = string.Join(',', Enumerable.Repeat("0", TraceFormat.MaxPathFrames + 1));
        using TraceReader longPath = TraceSamples.Reader(Header, Frame, $$"""{"type":"path","id":0,"frames":[{{many}}]}""");
        using TraceReader longName = TraceSamples.Reader(Header, $$"""{"type":"frame","id":0,"function":"{{new string('a', 5000)}}"}""");

        Assert.Throws<MalformedFileException>(() => longPath.ReadAll().Count());
        Assert.Throws<MalformedFileException>(() => longName.ReadAll().Count());
    }

    [Fact]
    public void A_mutated_trace_is_read_or_refused_and_nothing_else()
    {
        byte[] good = TraceSamples.Bytes([.. TraceSamples.EveryRecord().SkipLast(1)]);
        const int Cases = 6000;
        int refused = 0;
        for (int seed = 0; seed < Cases; seed++)
        {
            var random = new Random(seed);
            byte[] bytes = Mutate(good, random);
            try
            {
                using TraceReader reader = TraceSamples.Reader(bytes);
                foreach (TraceRecord record in reader.ReadAll())
                {
                    Assert.NotNull(record.ToString());
                }
            }
            catch (MalformedFileException)
            {
                refused++;
            }
            catch (Exception e)
            {
                throw new InvalidOperationException($"seed {seed}", e);
            }
        }

        Assert.InRange(refused, Cases / 4, Cases - 1);
    }

    [Fact]
    public void A_reader_reads_its_file_once()
    {
        using TraceReader reader = TraceSamples.Reader(Header);
        Assert.Single(reader.ReadAll());
        Assert.Throws<InvalidOperationException>(() => reader.ReadAll().Count());
    }

    [Fact]
    public void Without_registers_the_rest_of_a_hit_is_the_same()
    {
        using TraceReader reader = TraceReader.Open(new MemoryStream(TraceSamples.Bytes(GdbReference.Records())), "x", keepRegisters: false);

        TraceRecord.Hit[] hits = [.. reader.ReadAll().OfType<TraceRecord.Hit>()];

        Assert.Equal(GdbReference.Hits.Select(hit => hit.Path), hits.Select(hit => hit.Path));
        Assert.All(hits, hit => Assert.True(hit.Registers.IsEmpty && hit.Pcs.IsEmpty));
    }

    private static byte[] Mutate(byte[] good, Random random)
    {
        var bytes = good.ToList();
        for (int edits = random.Next(1, 4); edits > 0; edits--)
        {
            int at = random.Next(bytes.Count);
            int length = Math.Min(random.Next(1, 40), bytes.Count - at);
            switch (random.Next(6))
            {
                case 0: bytes[at] = (byte)random.Next(256); break;
                case 1: bytes[at] ^= (byte)(1 << random.Next(8)); break;
                case 2: bytes.RemoveRange(at, length); break;
                case 3: bytes.InsertRange(at, bytes.GetRange(random.Next(bytes.Count - length + 1), length)); break;
                case 4: bytes.InsertRange(at, "{}[],:\"\\0e\n"u8.ToArray().OrderBy(_ => random.Next()).Take(3)); break;
                default:
                    // Digits are where ids, lengths and addresses are.
                    int digit = bytes.FindIndex(at, b => b is >= (byte)'0' and <= (byte)'9');
                    if (digit >= 0)
                    {
                        bytes[digit] = (byte)('0' + random.Next(10));
                    }

                    break;
            }

            if (bytes.Count == 0)
            {
                break;
            }
        }

        return [.. bytes];
    }

    /// <summary>A beginning, and then the letter a for ever.</summary>
    private sealed class EndlessStream(byte[] beginning) : Stream
    {
        public long Given { get; private set; }

        public override bool CanRead => true;

        public override bool CanSeek => false;

        public override bool CanWrite => false;

        public override long Length => throw new NotSupportedException();

        public override long Position { get => Given; set => throw new NotSupportedException(); }

        public override int Read(byte[] buffer, int offset, int count)
        {
            for (int i = 0; i < count; i++)
            {
                buffer[offset + i] = Given < beginning.Length ? beginning[Given] : (byte)'a';
                Given++;
            }

            return count;
        }

        public override void Flush()
        {
        }

        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

        public override void SetLength(long value) => throw new NotSupportedException();

        public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();
    }
}
