using KTrace.Tests.Support;
using KTrace.Tracing;

namespace KTrace.Tests.Tracing;

/// <summary>A trace that is read on from its middle.</summary>
public sealed class TracePlaceTests : IDisposable
{
    private readonly ScratchFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void From_every_place_a_reader_goes_on_as_the_one_that_was_there(bool isCompact)
    {
        var file = isCompact ? _folder.File("compact.ktrace") : Path.Combine(KTrace.Tests.Boot.Repository.Root, "traces", "e1000e-msix.ktrace");
        if (isCompact)
        {
            CompactHitTests.Write(file);
        }

        // Records are compared by what they say, as the exports write it.
        var whole = new List<string>();
        var places = new List<TracePlace>();
        using (var reader = TraceReader.Open(file))
        {
            foreach (var record in reader.ReadAll())
            {
                whole.Add(Text(record));
                places.Add(reader.Place());
            }
        }

        Assert.True(whole.Count >= 5);
        for (var at = 0; at < places.Count; at += isCompact ? 1 : 7)
        {
            // Twice: who reads on from a place does not change it.
            for (var time = 0; time < 2; time++)
            {
                using var reader = TraceReader.Open(file, places[at]);
                Assert.Equal(whole.Skip(at + 1), reader.ReadAll().Select(Text));
            }
        }

        Assert.True(places[^1].Definitions >= places[0].Definitions);
        File.WriteAllText(file = _folder.File("short.ktrace"), "");
        Assert.Throws<IOException>(() => TraceReader.Open(file, places[^1]));
    }

    private static string Text(TraceRecord record) => record switch
    {
        TraceRecord.Hit hit => $"{hit.Sequence} {hit.Tracepoint} {hit.Cpu} {hit.Task} {hit.Context} {hit.Clock} {hit.PathEnd} "
            + string.Join(' ', hit.Path.Frames) + string.Join(' ', hit.Pcs) + string.Join(' ', hit.TailPcs) + string.Join(' ', hit.Registers)
            + string.Join(' ', Enumerable.Range(0, hit.Path.Frames.Length).SelectMany(hit.ArgumentsOf)) + string.Join(' ', hit.Prints),
        TraceRecord.Return returned => $"{returned.HitSequence} {returned.Duration} {returned.Depth} {string.Join(' ', returned.Prints)}",
        _ => record.ToString()!,
    };
}
