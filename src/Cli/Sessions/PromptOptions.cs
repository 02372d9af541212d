using System.CommandLine;
using KTrace.Boot;
using KTrace.Rsp;

namespace KTrace.Cli.Sessions;

/// <summary>How commands come and go.</summary>
/// <param name="Commands">Executed first, in order.</param>
/// <param name="IsBatch">Ends after them.</param>
/// <param name="Sources">A kernel source tree, or null.</param>
/// <param name="ShowConsole">Guest output is shown between answers.</param>
/// <param name="BuildTrees">Folders with arch/x86/boot.</param>
/// <param name="TranscriptFile">Takes what goes over the wire, or null.</param>
internal sealed record PromptSettings(IReadOnlyList<string> Commands, bool IsBatch, string? Sources, bool ShowConsole, string? TranscriptFile, IReadOnlyList<string> BuildTrees)
{
    /// <exception cref="BootException">The file cannot be written.</exception>
    public RspTranscript? OpenTranscript()
    {
        try
        {
            return TranscriptFile is null ? null : RspTranscript.Create(TranscriptFile);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new BootException($"{TranscriptFile}: {e.Message}", "name a file that can be written: --transcript FILE", e);
        }
    }
}

/// <summary>The options of verbs that take a debugger's commands.</summary>
/// <param name="isPrompt">Line by line; otherwise in panes, without options for scripts.</param>
internal sealed class PromptOptions(bool isPrompt = true)
{
    private readonly Option<string[]> _commands = new("--ex") { HelpName = "COMMAND", Description = "A command to begin with; may be given several times" };
    private readonly Option<bool> _batch = new("--batch") { Description = "End after the commands of --ex" };
    private readonly Option<string?> _sources = new("--source") { HelpName = "DIR", Description = "The kernel's source tree, for list and for the line at every stop" };
    private readonly Option<bool> _noConsole = new("--no-console") { Description = "Leave out what the guest writes on its console" };
    private readonly Option<string[]> _buildTrees = new("--build-tree") { HelpName = "DIR", Description = "The kernel's build tree, for names in its setup code and decompressor; may be given several times" };
    private readonly Option<string?> _transcript = new("--transcript") { HelpName = "FILE", Description = "Write every packet to and from the stub into a file" };

    public void AddTo(Command command)
    {
        foreach (var option in isPrompt ? (Option[])[_commands, _batch, _sources, _buildTrees, _noConsole, _transcript] : [_sources, _buildTrees, _transcript])
        {
            command.Add(option);
        }
    }

    /// <exception cref="BootException">The source tree or a build tree is no folder.</exception>
    public PromptSettings Read(ParseResult result)
    {
        var sources = result.GetValue(_sources);
        if ((result.GetValue(_buildTrees) ?? []).FirstOrDefault(tree => !Directory.Exists(tree)) is { } missing)
        {
            throw new BootException($"{missing}: there is no such folder", "--build-tree takes the folder that the kernel was built in");
        }

        return sources is not null && !Directory.Exists(sources)
            ? throw new BootException($"{sources}: there is no such folder", "--source takes the top of a kernel source tree")
            : new PromptSettings(result.GetValue(_commands) ?? [], result.GetValue(_batch), sources, !result.GetValue(_noConsole), result.GetValue(_transcript), result.GetValue(_buildTrees) ?? []);
    }
}
