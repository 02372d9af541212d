using KTrace.Debugger.Breakpoints;
using KTrace.Debugger.Modules;
using KTrace.Debugger.Sessions;
using KTrace.Tests.Support;
using KTrace.Tracing;

namespace KTrace.Tests.Debugger.Sessions;

/// <summary>A session with a stock kernel that runs a script, and all the news it told.</summary>
internal sealed class SessionGuest : ISessionProgress, IAsyncDisposable
{
    private readonly OracleGuest _guest;
    private readonly ModuleFiles _modules;

    private SessionGuest(OracleGuest guest, ModuleFiles modules) => (_guest, _modules) = (guest, modules);

    public DebugSession Session { get; private set; } = null!;

    public List<string> Modules { get; } = [];

    public List<TraceRecord.Hit> Hits { get; } = [];

    public List<string> Notes { get; } = [];

    public string Console => _guest.Console;

    /// <param name="script">What /init does.</param>
    public static async Task<SessionGuest> BootAsync(string script, int cpus = 1, string[]? modules = null)
    {
        var kernel = OracleKernel.Package(StockKernel.Root, StockKernel.Release);
        var guest = await OracleGuest.BootAsync(kernel, script, cpus: cpus, modules: modules);
        var files = new ModuleFiles(((string?[])[kernel.Modules, kernel.DebugModules]).OfType<string>());
        var made = new SessionGuest(guest, files);
        made.Session = await DebugSession.StartAsync(guest.Target, files, new SessionOptions { Progress = made });
        return made;
    }

    /// <summary>Lets it run to a stop, which must be one of these breakpoints.</summary>
    public async Task<SessionStop.Stopped> ContinueToAsync(params Breakpoint[] expected)
    {
        var stop = Assert.IsType<SessionStop.Stopped>(await Session.ContinueAsync());
        Assert.Equal(expected, Assert.IsType<StopCause.AtBreakpoint>(stop.Cause).Breakpoints);
        return stop;
    }

    public async Task<Breakpoint> BreakAsync(string text, BreakpointOptions? options = null) =>
        Assert.Single(await Session.Breakpoints.AddAsync(text, options ?? new BreakpointOptions(), default));

    public void Identified(ulong slide) => Notes.Add($"slide {slide:x}");

    public void Module(ModuleEvent happened) => Modules.Add(happened switch
    {
        ModuleEvent.Loading loading => $"loading {loading.Loaded.Module.Name} init {!loading.Loaded.Module.InitText.IsEmpty}",
        ModuleEvent.Live live => $"live {live.Name}",
        ModuleEvent.Unloaded gone => $"unloaded {gone.Module.Name}",
        _ => "unreadable",
    });

    public void Hit(Breakpoint at, TraceRecord.Hit hit) => Hits.Add(hit);

    public void Note(string text, bool isWarning) => Notes.Add(text);

    public async ValueTask DisposeAsync()
    {
        await Session.DisposeAsync();
        await _guest.DisposeAsync();
        _modules.Dispose();
    }
}
