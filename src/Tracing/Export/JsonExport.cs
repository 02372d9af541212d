// Records exactly as the file has them. A selection of hits comes with what it needs to be understood, so that the output is a trace again:
// `ktrace show A.ktrace#12 --format json > one.ktrace`.
using KTrace.Symbols;

namespace KTrace.Tracing.Export;

/// <summary>Yields lines of a trace file.</summary>
public static class JsonExport
{
    /// <summary>Every line that the reader accepts, as it is in the file, unknown records included.</summary>
    /// <returns>Lines without line feed; each is valid until the next is asked for.</returns>
    /// <exception cref="MalformedFileException">While enumerating: the file says something that cannot be true.</exception>
    public static IEnumerable<ReadOnlyMemory<byte>> Lines(TraceReader reader) => reader.ReadLines().Select(line => line.Utf8);

    /// <summary>The hits that are wanted, with the frames and paths that they refer to, and every other record except console text.</summary>
    /// <param name="reader">A reader that was not read from yet.</param>
    /// <param name="isWanted">Asked for each hit, with the tracepoints as they are known then.</param>
    /// <returns>Lines without line feed; each is valid until the next is asked for.</returns>
    /// <exception cref="MalformedFileException">While enumerating: the file says something that cannot be true.</exception>
    public static IEnumerable<ReadOnlyMemory<byte>> Lines(TraceReader reader, Func<TraceRecord.Hit, TracepointTable, bool> isWanted)
    {
        if (reader.Header.Format >= TraceFormat.Compact)
        {
            foreach (ReadOnlyMemory<byte> line in Rewritten(reader, isWanted))
            {
                yield return line;
            }

            yield break;
        }

        var tracepoints = new TracepointTable();
        // Lines that no hit asked for yet; null once written.
        var frames = new Dictionary<int, byte[]?>();
        var paths = new Dictionary<int, (byte[] Line, IReadOnlyList<int> Frames)?>();
        var written = new HashSet<long>();
        var values = new Dictionary<int, byte[]?>();
        foreach (TraceReader.TraceLine line in reader.ReadLines())
        {
            DecodedLine decoded = line.Decoded;
            switch (decoded)
            {
                case { FrameId: { } id }:
                    frames[id] = line.Utf8.ToArray();
                    break;
                case { ValuesId: { } id }:
                    values[id] = line.Utf8.ToArray();
                    break;
                case { Record: null, PathId: { } id }:
                    paths[id] = (line.Utf8.ToArray(), decoded.PathFrames);
                    break;
                case { Record: TraceRecord.Hit hit, PathId: { } pathId }:
                    if (!isWanted(hit, tracepoints))
                    {
                        break;
                    }

                    if (paths[pathId] is { } path)
                    {
                        foreach (int frame in path.Frames)
                        {
                            if (frames[frame] is { } frameLine)
                            {
                                frames[frame] = null;
                                yield return frameLine;
                            }
                        }

                        paths[pathId] = null;
                        yield return path.Line;
                    }

                    foreach (int id in decoded.Values)
                    {
                        if (values.GetValueOrDefault(id) is { } valuesLine)
                        {
                            values[id] = null;
                            yield return valuesLine;
                        }
                    }

                    written.Add(hit.Sequence);
                    yield return line.Utf8;
                    break;
                case { Record: TraceRecord.Return returned } when !written.Contains(returned.HitSequence):
                case { Record: TraceRecord.Interrupts { HitSequence: { } at } } when !written.Contains(at):
                    break;
                case { Record: { } record and not TraceRecord.Console }:
                    tracepoints.Observe(record);
                    yield return line.Utf8;
                    break;
            }
        }
    }

    /// <summary>Compact hits refer to lines that hundreds of thousands of others share: what is selected of them is written anew, each hit with all that is known of it.</summary>
    private static IEnumerable<ReadOnlyMemory<byte>> Rewritten(TraceReader reader, Func<TraceRecord.Hit, TracepointTable, bool> isWanted)
    {
        var tracepoints = new TracepointTable();
        var written = new HashSet<long>();
        using var lines = new MemoryStream();
        using var writer = new TraceWriter(lines, reader.File);
        foreach (TraceRecord record in reader.ReadAll())
        {
            tracepoints.Observe(record);
            switch (record)
            {
                case TraceRecord.Console:
                case TraceRecord.Hit hit when !isWanted(hit, tracepoints):
                case TraceRecord.Return returned when !written.Contains(returned.HitSequence):
                case TraceRecord.Interrupts { HitSequence: { } at } when !written.Contains(at):
                    continue;
                case TraceRecord.Hit hit:
                    written.Add(hit.Sequence);
                    break;
            }

            lines.SetLength(0);
            writer.Write(record is TraceRecord.Header header ? header with { Format = TraceFormat.First } : record);
            byte[] bytes = lines.ToArray();
            for (int start = 0; start < bytes.Length;)
            {
                int length = bytes.AsSpan(start).IndexOf((byte)'\n');
                yield return bytes.AsMemory(start, length);
                start += length + 1;
            }
        }
    }
}
