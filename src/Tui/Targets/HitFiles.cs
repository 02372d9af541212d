// Hits as files, for `ktrace show` and `ktrace diff` and for other programs. Nothing that is no trace is ever replaced, and a file has its name only when it is whole.
using System.Text;
using KTrace.Debugger;
using KTrace.Tracing;
using KTrace.Tracing.Export;
using KTrace.Tui.Views;

namespace KTrace.Tui.Targets;

/// <summary>Writes traces, and hits in the formats of <c>ktrace show</c>.</summary>
internal static class HitFiles
{
    private const string Formats = ".ktrace and .json (records of the trace), .txt (call paths), .gdb (as gdb's bt prints them), .folded (for flame graphs)";

    /// <summary>Exports all hits or one, in the format that the file's extension names.</summary>
    /// <param name="open">Opens the trace anew.</param>
    /// <returns>How many hits were written.</returns>
    /// <exception cref="TargetException">No such format, or the file is there already.</exception>
    public static int Export(string path, long? only, Func<TraceReader> open, CancellationToken cancellationToken)
    {
        Func<TraceReader, Count, IEnumerable<string>> lines = Path.GetExtension(path) switch
        {
            ".ktrace" or ".json" or ".jsonl" => (reader, count) => Records(reader, only, count),
            ".txt" => (reader, count) => Hits(reader, only, count, (found, header) => new CallPathView(found.Hit, header, found.Tracepoints, new CallPathOptions(Registers: only is not null)).Lines(null)
                .Select(l => l.ToString()).Append("")),
            ".gdb" => (reader, count) => Hits(reader, only, count, (found, header) => GdbExport.Lines(found.Hit, header, found.Tracepoints).Select(TerminalText.Sanitize)),
            ".folded" => (reader, count) => FoldedExport.Lines(Wanted(reader, only, count)).Select(TerminalText.Sanitize),
            var other => throw new TargetException($"there is no format for {(other.Length == 0 ? "a file without extension" : other)}", "give the file one of these: " + Formats),
        };
        if (File.Exists(path) || Directory.Exists(path))
        {
            throw new TargetException($"{path} is there already", "give another name");
        }

        var count = new Count();
        using var trace = open();
        Write(path, lines(trace, count), cancellationToken);
        if (count.Hits == 0)
        {
            File.Delete(path);
        }

        return count.Hits;
    }

    /// <summary>Writes a whole trace. An older trace may be replaced, as with any recorder; another file may not.</summary>
    /// <param name="whole">A file that is copied as it is; null: the trace is written anew.</param>
    /// <param name="end">Put behind a trace that has no end of its own.</param>
    /// <exception cref="TargetException">The file is no trace.</exception>
    public static void Save(string path, string? whole, Func<TraceReader> open, TraceRecord.End? end, CancellationToken cancellationToken)
    {
        if (Directory.Exists(path) || (File.Exists(path) && new FileInfo(path).Length > 0 && !TraceReader.BeginsLikeATrace(path)))
        {
            throw new TargetException($"{path} exists and is no trace: it is not overwritten", "give another name");
        }

        if (whole is not null)
        {
            Replace(path, part => File.Copy(whole, part));
            return;
        }

        using var trace = open();
        Replace(path, part =>
        {
            using var writer = new TraceWriter(part);
            foreach (var record in trace.ReadAll())
            {
                cancellationToken.ThrowIfCancellationRequested();
                writer.Write(record is TraceRecord.Header header ? header with { Format = TraceFormat.First } : record);
            }

            if (end is not null && trace.End is null)
            {
                writer.Write(end with { Hits = writer.Hits });
            }
        });
    }

    private static IEnumerable<string> Records(TraceReader reader, long? only, Count count) => JsonExport.Lines(reader, (hit, _) =>
    {
        var isWanted = only is null || hit.Sequence == only;
        count.Hits += isWanted ? 1 : 0;
        return isWanted;
    }).Select(line => Encoding.UTF8.GetString(line.Span));

    private static IEnumerable<string> Hits(TraceReader reader, long? only, Count count, Func<FoundHit, TraceRecord.Header, IEnumerable<string>> lines)
    {
        var tracepoints = new TracepointTable();
        foreach (var record in reader.ReadAll())
        {
            tracepoints.Observe(record);
            if (record is TraceRecord.Hit hit && (only is null || hit.Sequence == only))
            {
                count.Hits++;
                foreach (var line in lines(new FoundHit(hit, null, tracepoints), reader.Header))
                {
                    yield return line;
                }
            }
        }
    }

    private static IEnumerable<TraceRecord.Hit> Wanted(TraceReader reader, long? only, Count count)
    {
        foreach (var hit in reader.ReadAll().OfType<TraceRecord.Hit>().Where(h => only is null || h.Sequence == only))
        {
            count.Hits++;
            yield return hit;
        }
    }

    private static void Write(string path, IEnumerable<string> lines, CancellationToken cancellationToken) => Replace(path, part =>
    {
        using var writer = new StreamWriter(part, false, new UTF8Encoding(false)) { NewLine = "\n" };
        foreach (var line in lines)
        {
            cancellationToken.ThrowIfCancellationRequested();
            writer.WriteLine(line);
        }
    });

    private static void Replace(string path, Action<string> write)
    {
        var part = $"{path}.{Environment.ProcessId}.part";
        try
        {
            write(part);
            File.Move(part, path, overwrite: true);
        }
        catch
        {
            File.Delete(part);
            throw;
        }
    }

    /// <summary>Hits that were written so far.</summary>
    private sealed class Count
    {
        public int Hits { get; set; }
    }
}
