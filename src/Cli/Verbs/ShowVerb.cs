// ktrace show: a recorded trace, without its target. Results go to standard output, remarks about the file to standard error.
using System.CommandLine;
using System.Text;
using KTrace.Symbols;
using KTrace.Tracing;
using KTrace.Tracing.Export;
using KTrace.Tui.Views;

namespace KTrace.Cli.Verbs;

internal static class ShowVerb
{
    private const int Found = 0, NotFound = 1, Error = 2;

    public static Command Create()
    {
        var trace = new Argument<string>("trace")
        {
            HelpName = "FILE[#HIT]",
            Description = "A trace, or one hit of it: its number, first or last (quote the # if your shell needs it)",
        };
        var format = new Option<string>("--format", "-f")
        {
            HelpName = "text|gdb|json",
            Description = "text: tables and call paths; gdb: as its bt prints them; json: records as in the file",
            DefaultValueFactory = _ => "text",
        };
        format.AcceptOnlyFromAmong("text", "gdb", "json");
        var stats = new Option<bool>("--stats") { Description = "Count hits, paths and hits per second instead" };
        var graph = new Option<bool>("--graph") { Description = "Calls nested in calls, with their durations, from returns that were recorded (-b 'PLACE return'); of FILE#HIT that call alone" };
        var filter = new Option<string[]>("--filter")
        {
            HelpName = "KEY=VALUE",
            Description = "Only hits with this tracepoint, function, module, task or cpu (* and ? allowed); may be given several times",
        };
        var rules = new Option<bool>("--rules") { Description = "Show what found each frame: cfi, orc, fp (frame pointer), saved registers" };
        var addresses = new Option<bool>("--addresses") { Description = "Show each frame's address" };
        var arguments = new Option<string>("--arguments")
        {
            HelpName = "none|values|provenance",
            Description = "How much of each frame's arguments: provenance shows a line for each, with its type and how its value is known",
            DefaultValueFactory = _ => "values",
        };
        arguments.AcceptOnlyFromAmong("none", "values", "provenance");
        var command = new Command(
            "show",
            """
            Show a recorded trace: a table of its hits, or one hit's whole call path and registers.

            Examples:
              ktrace show e1000e-msix.ktrace
              ktrace show 'e1000e-msix.ktrace#12' --arguments provenance
              ktrace show e1000e-msix.ktrace --graph --filter task=ifconfig
              ktrace show e1000e-msix.ktrace --filter task=ifconfig,function=e1000_*
              ktrace show e1000e-msix.ktrace --format json | jq -r 'select(.type=="hit").task.comm'
            """)
        {
            trace, format, stats, graph, filter, rules, addresses, arguments,
        };
        command.SetAction(result => Guard(result.InvocationConfiguration, () => result.GetValue(graph) ? ShowGraph(
            HitReference.Parse(result.GetRequiredValue(trace)),
            result.GetValue(format)!,
            result.GetValue(stats),
            result.GetValue(filter) is { Length: > 0 } chosen ? HitFilter.Parse(chosen) : HitFilter.All,
            new FunctionGraphOptions(result.GetResult(arguments) is { Implicit: false } && result.GetValue(arguments) != "none"),
            result.InvocationConfiguration) : Show(
            HitReference.Parse(result.GetRequiredValue(trace)),
            result.GetValue(format)!,
            result.GetValue(stats),
            result.GetValue(filter) is { Length: > 0 } terms ? HitFilter.Parse(terms) : HitFilter.All,
            new CallPathOptions(result.GetValue(addresses), result.GetValue(rules), Registers: true, Enum.Parse<ArgumentDetail>(result.GetValue(arguments)!, ignoreCase: true)),
            result.InvocationConfiguration)));
        return command;
    }

    /// <summary>Runs a verb that reads traces; says what is wrong in one line, and what to do about it.</summary>
    /// <returns>The verb's exit code, or 2.</returns>
    internal static int Guard(InvocationConfiguration configuration, Func<int> verb)
    {
        try
        {
            return verb();
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            string file = (e as FileNotFoundException)?.FileName ?? "";
            string name = file.Length == 0 ? e.Message : $"{Path.GetRelativePath(Environment.CurrentDirectory, file)}: there is no such file";
            return Fail(configuration, $"{name} (ktrace record -o FILE makes one; recorded ones are in traces/)");
        }
        catch (UnauthorizedAccessException e)
        {
            return Fail(configuration, $"{e.Message.TrimEnd('.')} (a trace is a file that you may read)");
        }
        catch (Exception e) when (e is MalformedFileException or TraceQueryException or IOException)
        {
            return Fail(configuration, e.Message);
        }
    }

    /// <summary>Says on standard error what is not whole about a trace.</summary>
    internal static void Remark(InvocationConfiguration configuration, string file, string? incomplete)
    {
        if (incomplete is not null)
        {
            configuration.Error.WriteLine(TerminalText.Sanitize($"ktrace: {file}: {incomplete}"));
        }
    }

    private static int Fail(InvocationConfiguration configuration, string message)
    {
        configuration.Error.WriteLine(TerminalText.Sanitize($"ktrace: {message}"));
        return Error;
    }

    private static int Show(
        HitReference what, string format, bool stats, HitFilter filter, CallPathOptions options, InvocationConfiguration configuration)
    {
        if (stats && (what.Hit is not null || format != "text"))
        {
            throw new TraceQueryException("--stats counts a whole trace: give it without #HIT and --format");
        }

        ViewOutput output = ViewOutput.For(configuration.Output);
        return format switch
        {
            "json" => ShowJson(what, filter, output, configuration),
            _ when what.Hit is not null => ShowHit(what, format, filter, options, output, configuration),
            "gdb" => ShowGdb(what, filter, configuration),
            _ => ShowTrace(what, stats, filter, output, configuration),
        };
    }

    private static int ShowTrace(HitReference what, bool stats, HitFilter filter, ViewOutput output, InvocationConfiguration configuration)
    {
        Trace trace = Trace.Load(what.File, filter);
        output.Write(stats ? new TraceStatsView(trace, TraceStatistics.Of(trace)) : new HitTable(trace));
        Remark(configuration, trace.File, trace.Incomplete);
        if (trace.Hits.Count == 0 && !filter.IsAll)
        {
            configuration.Error.WriteLine(TerminalText.Sanitize($"ktrace: none of {trace.HitCount} hits has {filter}"));
            return NotFound;
        }

        if (output.IsTerminal && !stats && trace.Hits.Count > 0)
        {
            string example = $"{trace.File}#{trace.Hits[^1].Sequence}";
            configuration.Error.WriteLine(TerminalText.Sanitize($"ktrace show '{example}' shows one hit's call path"));
        }

        return Found;
    }

    private static int ShowGraph(
        HitReference what, string format, bool stats, HitFilter filter, FunctionGraphOptions options, InvocationConfiguration configuration)
    {
        if (stats || format != "text")
        {
            throw new TraceQueryException("--graph draws calls: give it without --stats and --format");
        }

        using TraceReader reader = TraceReader.Open(what.File, keepRegisters: false);
        FunctionGraph graph = FunctionGraph.Read(reader, filter, what.Hit);
        if (graph.Calls == 0)
        {
            Remark(configuration, what.File, graph.Incomplete);
            configuration.Error.WriteLine(TerminalText.Sanitize($"ktrace: {(filter.IsAll ? "the trace has no hits" : $"none of {graph.HitCount} hits has {filter}")}"));
            return NotFound;
        }

        ViewOutput.For(configuration.Output).Write(new FunctionGraphView(graph, options));
        Remark(configuration, what.File, graph.Incomplete);
        if (graph.Returns == 0)
        {
            configuration.Error.WriteLine("ktrace: no returns were recorded, so that nothing is nested: -b 'PLACE return' records them");
        }

        return Found;
    }

    private static int ShowHit(
        HitReference what, string format, HitFilter filter, CallPathOptions options, ViewOutput output, InvocationConfiguration configuration)
    {
        if (!filter.IsAll)
        {
            throw new TraceQueryException("--filter picks hits of a whole trace: give it without #HIT");
        }

        TraceQuery.PickedHit picked = TraceQuery.Pick(what.File, what.Hit!);
        if (format == "gdb")
        {
            WriteLines(configuration.Output, GdbExport.Lines(picked.Hit, picked.Trace.Header, picked.Trace.Tracepoints));
        }
        else
        {
            output.Write(new CallPathView(picked.Hit, picked.Trace.Header, picked.Trace.Tracepoints, options, picked.Return));
        }

        Remark(configuration, what.File, picked.Trace.Incomplete);
        return Found;
    }

    private static int ShowGdb(HitReference what, HitFilter filter, InvocationConfiguration configuration)
    {
        using TraceReader reader = TraceReader.Open(what.File);
        var tracepoints = new TracepointTable();
        int shown = 0;
        WriteLines(configuration.Output, reader.ReadAll().SelectMany(record =>
        {
            tracepoints.Observe(record);
            if (record is not TraceRecord.Hit hit || !filter.Matches(hit, tracepoints))
            {
                return [];
            }

            shown++;
            return GdbExport.Lines(hit, reader.Header, tracepoints);
        }));
        Remark(configuration, what.File, reader.Incomplete);
        return shown > 0 || filter.IsAll ? Found : NotFound;
    }

    private static int ShowJson(HitReference what, HitFilter filter, ViewOutput output, InvocationConfiguration configuration)
    {
        if (what.Hit is not null && !filter.IsAll)
        {
            throw new TraceQueryException("--filter picks hits of a whole trace: give it without #HIT");
        }

        // Which hit is the last, and whether a number is there, is known only after reading once.
        long? only = what.Hit is null ? null : TraceQuery.Pick(what.File, what.Hit).Hit.Sequence;
        using TraceReader reader = TraceReader.Open(what.File);
        int shown = 0;
        IEnumerable<ReadOnlyMemory<byte>> lines = only is null && filter.IsAll
            ? JsonExport.Lines(reader)
            : JsonExport.Lines(reader, (hit, tracepoints) =>
            {
                bool wanted = only is null ? filter.Matches(hit, tracepoints) : hit.Sequence == only;
                shown += wanted ? 1 : 0;
                return wanted;
            });
        WriteLines(configuration.Output, lines.Select(line =>
        {
            string text = Encoding.UTF8.GetString(line.Span);
            return output.IsTerminal ? TerminalText.EscapeJson(text) : text;
        }), raw: true);
        Remark(configuration, what.File, reader.Incomplete);
        return shown > 0 || filter.IsAll ? Found : NotFound;
    }

    private static void WriteLines(TextWriter writer, IEnumerable<string> lines, bool raw = false)
    {
        const int Chunk = 32 << 10;
        var text = new StringBuilder();
        foreach (string line in lines)
        {
            text.Append(raw ? line : TerminalText.Sanitize(line)).Append('\n');
            if (text.Length >= Chunk)
            {
                writer.Write(text);
                text.Clear();
            }
        }

        writer.Write(text);
    }
}
