using KTrace.Boot.Scenarios;
using KTrace.Tests.Boot;

namespace KTrace.Tests.Symbols.Recovery;

/// <summary>Recovered entry values against the ones that were seen, in a live boot of the stock kernel. Two boots, about a minute and a half.</summary>
[Trait("Group", "Long")]
public sealed class EntryTruthTests
{
    [Fact]
    public async Task What_is_recovered_on_the_msi_path_is_what_the_functions_were_called_with()
    {
        var truth = new EntryTruth(ScenarioReader.ReadFile(Path.Combine(AppContext.BaseDirectory, "scenarios", "e1000e-msix.yaml")));

        await truth.RunAsync("x86_vector_msi_compose_msg");

        Assert.Empty(truth.Contradictions);
        Assert.Equal(19, truth.Hits);
        Assert.True(truth.Checked > truth.Recovered * 3 / 4, $"{truth.Checked} of {truth.Recovered} were checked");
        Assert.True(truth.Recovered >= truth.Arguments * 90 / 100, $"{truth.Recovered} of {truth.Arguments}: {string.Join(", ", truth.Unknown)}");
    }
}
