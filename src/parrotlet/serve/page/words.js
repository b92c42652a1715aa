// English and Chinese. An element with data-t shows a word, data-label is its name, data-hint its placeholder.

const WORDS = {
  views: ["Views", "视图"], language: ["Language", "语言"], theme: ["Colours", "颜色"],
  auto: ["Auto", "自动"], light: ["Light", "浅色"], dark: ["Dark", "深色"],
  chat: ["Chat", "对话"], curves: ["Curves", "曲线"], results: ["Results", "评测"], ledger: ["Ledger", "账本"], xrays: ["X-rays", "透视"],
  ask: ["Ask", "提问"], new: ["New conversation", "新对话"], settings: ["Settings", "设置"], system: ["System prompt", "系统提示"],
  temperature: ["Temperature (0: likeliest)", "温度（0 取最可能）"], top_k: ["Top-k (0: all)", "Top-k（0 为全部）"], top_p: ["Top-p", "Top-p"], min_p: ["Min-p", "Min-p"],
  repetition_penalty: ["Repetition penalty", "重复惩罚"], max_tokens: ["Longest answer, tokens", "回答上限（词元）"],
  seed: ["Seed", "随机种子"], random: ["another each time", "每次不同"], calculator: ["May use the calculator", "可用计算器"],
  key: ["API key, if the server wants one", "API 密钥（服务器要求时）"],
  conversation: ["Conversation", "对话内容"], message: ["Message", "消息"], hint: ["Enter sends, Shift+Enter begins a line", "回车发送，Shift+回车换行"],
  send: ["Send", "发送"], stop: ["Stop", "停止"], edit: ["Edit", "编辑"], resend: ["Send again", "重新发送"], cancel: ["Cancel", "取消"],
  regenerate: ["Again", "重新生成"], tokens: ["Tokens", "词元"], text: ["Text", "文本"],
  greeting: ["Talk to every stage", "和每个阶段对话"],
  base: ["has read: it goes on with any text, and does not know what a question is", "读过书：能接着任何文字写下去，还不懂什么是提问"],
  mid: ["has heard conversations: it answers, and calls its calculator", "听过对话：会回答，也会调用计算器"],
  sft: ["has practised answering well", "练习过怎样答得更好"],
  side_by_side: ["Tick several above, and the same question goes to each, side by side.", "在上方勾选多个阶段，同一个问题会并排发给每个阶段。"],
  tries: ["Questions of the test that the latest stage answered right, at temperature 0:", "测试中最新阶段答对的问题（温度为 0）："],
  keys: ["Escape stops an answer. Arrow up in the empty box edits the last message.", "Esc 停止回答；输入框为空时，按上箭头编辑上一条消息。"],
  stopped: ["stopped", "已停止"], length: ["cut: the limit or the context is reached", "已截断：达到上限或上下文已满"],
  left_out: ["oldest exchanges left out, because the context is full:", "上下文已满，略去最早的轮次："],
  lost: ["The connection broke off.", "连接中断。"], choose: ["Choose a stage to ask.", "请选择要提问的阶段。"],
  loading: ["loading…", "加载中…"], none: ["Nothing yet.", "暂无内容。"],
  token: ["token", "词元"], bytes: ["bytes", "字节"], id: ["id", "编号"], probability: ["probability", "概率"], sampled: ["sampled by the model", "由模型采样"],
  injected: ["injected by the engine", "由引擎写入"], instead: ["likeliest here", "此处最可能"],
  legend: ["The stronger the colour, the less the model expected the token. Dashed: injected by the engine. ‥ goes on with the character before it. Arrow keys walk.",
    "颜色越深，模型越没料到该词元。虚线：由引擎写入。‥ 接续前一个字。方向键移动。"],
  step: ["Step", "步"], stage: ["Stage", "阶段"], beside: ["Beside", "并排"], show: ["Show", "显示"], nothing: ["none", "无"],
  loss: ["training loss", "训练损失"], val_loss: ["validation loss", "验证损失"], val_bpb: ["validation bits per byte", "验证每字节比特"],
  lr: ["learning rate, share of its peak", "学习率（相对峰值）"], chance: ["chance", "随机"], task: ["task", "任务"], no_tool: ["without the calculator", "不用计算器"],
  accuracy: ["Accuracy in %, with 95 % intervals; validation of each stage on its own data.", "准确率（%），附 95% 置信区间；各阶段的验证使用各自的数据。"],
  unlogged: ["steps were trained by a version that did not log sources", "步由未记录来源的旧版本训练"],
  source: ["source", "来源"], planned: ["planned", "计划"], trained: ["trained", "已训练"], supervised: ["supervised", "受监督"],
  epochs: ["epochs", "轮数"], split: ["split", "拆分"], dropped: ["left out", "略去"], of: ["of", "/"],
};

let column = 0;

export const t = (key) => WORDS[key][column];

export function speak(language) {
  column = language === "zh" ? 1 : 0;
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  for (const node of document.querySelectorAll("[data-t]")) node.textContent = t(node.dataset.t);
  for (const node of document.querySelectorAll("[data-label]")) node.setAttribute("aria-label", t(node.dataset.label));
  for (const node of document.querySelectorAll("[data-hint]")) node.placeholder = t(node.dataset.hint);
}
