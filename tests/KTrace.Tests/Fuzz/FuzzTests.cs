using Xunit.Abstractions;

namespace KTrace.Tests.Fuzz;

/// <summary>Damaged input, for every reader: it is answered or refused as declared, in bounded time and memory. See <see cref="FuzzRun"/>.</summary>
public sealed class FuzzTests(ITestOutputHelper output)
{
    private const int Short = 2_000;
    private const int Long = 100_000;

    public static TheoryData<string> Readers => new(FuzzReaders.All.Select(r => r.Name));

    [Theory]
    [MemberData(nameof(Readers))]
    public void Damaged_input_is_answered_or_refused(string reader) => Run(reader, Short, 0);

    [Theory]
    [Trait("Group", "Long")]
    [MemberData(nameof(Readers))]
    public void Damaged_input_is_answered_or_refused_at_length(string reader) => Run(reader, Long, FuzzReaders.CasesOf(FuzzReaders.Named(reader), Short));

    private void Run(string name, int all, int from)
    {
        var reader = FuzzReaders.Named(name);
        var wanted = FuzzRun.Wanted(name);
        var (first, count) = wanted ?? (from, FuzzReaders.CasesOf(reader, all));
        if (count == 0)
        {
            return;
        }

        var report = FuzzRun.Run(reader, first, count);
        output.WriteLine(report.ToString());
        // Damage that is always refused at the door would test nothing behind it.
        Assert.True(wanted is not null || report.Answers >= count / 20, $"dull: {report}");
    }
}
