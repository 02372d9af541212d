using System.Collections.Immutable;
using KTrace.Symbols;

namespace KTrace.Tracing;

/// <summary>A trace in memory: what views and comparisons need of one.</summary>
/// <param name="File">Path as the user gave it.</param>
/// <param name="Header">The first record.</param>
/// <param name="Tracepoints">As they stood at the end.</param>
/// <param name="Hits">The hits that the filter let through, in order.</param>
/// <param name="HitCount">All hits of the file.</param>
/// <param name="Modules">Modules in the order of their loading.</param>
/// <param name="Remarks">Notes and warnings.</param>
/// <param name="End">The end record, or null.</param>
/// <param name="Incomplete">What is not whole about the file, for people, or null.</param>
/// <param name="Truncated">The last line of the file was cut off.</param>
public sealed record Trace(
    string File,
    TraceRecord.Header Header,
    TracepointTable Tracepoints,
    IReadOnlyList<TraceRecord.Hit> Hits,
    long HitCount,
    ImmutableArray<TraceRecord.Module> Modules,
    ImmutableArray<TraceRecord> Remarks,
    TraceRecord.End? End,
    string? Incomplete,
    bool Truncated)
{
    /// <summary>Returns of hits that were asked for, by the hit's number.</summary>
    public IReadOnlyDictionary<long, TraceRecord.Return> Returns { get; init; } = ImmutableDictionary<long, TraceRecord.Return>.Empty;

    /// <summary>How recording without stops went; null when nothing was recorded so, or the recording was cut off.</summary>
    public TraceRecord.NonStop? NonStop { get; init; }

    /// <summary>How fast <see cref="TraceClock.Ticks"/> count, or null.</summary>
    public double? TicksPerSecond { get; init; }

    /// <param name="file">Path of a trace.</param>
    /// <param name="filter">Which hits to keep; null keeps all.</param>
    /// <param name="keepRegisters">See <see cref="TraceReader.Open(string, bool)"/>.</param>
    /// <exception cref="MalformedFileException">No trace, or a damaged one.</exception>
    /// <exception cref="IOException">It cannot be read.</exception>
    /// <exception cref="UnauthorizedAccessException">It may not be read.</exception>
    public static Trace Load(string file, HitFilter? filter = null, bool keepRegisters = false)
    {
        using TraceReader reader = TraceReader.Open(file, keepRegisters);
        return Load(reader, filter);
    }

    /// <inheritdoc cref="Load(string, HitFilter?, bool)"/>
    public static Trace Load(TraceReader reader, HitFilter? filter = null)
    {
        var tracepoints = new TracepointTable();
        var hits = new List<TraceRecord.Hit>();
        var returns = new Dictionary<long, TraceRecord.Return>();
        long hitCount = 0;
        TraceRecord.NonStop? nonStop = null;
        double? ticksPerSecond = null;
        ImmutableArray<TraceRecord.Module>.Builder modules = ImmutableArray.CreateBuilder<TraceRecord.Module>();
        ImmutableArray<TraceRecord>.Builder remarks = ImmutableArray.CreateBuilder<TraceRecord>();
        foreach (TraceRecord record in reader.ReadAll())
        {
            tracepoints.Observe(record);
            switch (record)
            {
                case TraceRecord.Hit hit:
                    hitCount++;
                    if (filter is null || filter.Matches(hit, tracepoints))
                    {
                        hits.Add(hit);
                    }

                    break;
                case TraceRecord.Return returned: returns[returned.HitSequence] = returned; break;
                case TraceRecord.NonStop figures: nonStop = figures; break;
                case TraceRecord.ClockRate rate: ticksPerSecond = rate.TicksPerSecond; break;
                case TraceRecord.Module module: modules.Add(module); break;
                case TraceRecord.Note or TraceRecord.Warning: remarks.Add(record); break;
            }
        }

        return new Trace(
            reader.File, reader.Header, tracepoints, hits, hitCount, modules.DrainToImmutable(), remarks.DrainToImmutable(),
            reader.End, reader.Incomplete, reader.Truncated)
        {
            Returns = returns,
            NonStop = nonStop,
            TicksPerSecond = ticksPerSecond,
        };
    }
}
